//! The connections to one receiver of events: those that wait for the next request, and new ones.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;

use super::connect::{Connect, Stream};
use super::wire::{Ended, Wire};
use super::{Failure, Tls, chain};
use crate::answer::Answer;

/// Idle connections kept. Fewer than are busy at times would mean to open some anew all the time.
const IDLE_MAX: usize = 512;
/// How long an idle connection is kept.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Pool {
    connect: Arc<dyn Connect>,
    /// With `https`.
    tls: Option<Tls>,
    /// A name or an address, without brackets.
    host: String,
    port: u16,
    /// The last used one is the last.
    idle: Mutex<Vec<(Wire, Instant)>>,
}

impl Pool {
    pub(super) fn new(connect: Arc<dyn Connect>, tls: Option<Tls>, host: &str, port: u16) -> Self {
        Self {
            connect,
            tls,
            host: host.to_owned(),
            port,
            idle: Mutex::default(),
        }
    }

    /// Sends a request, whose head is `parts` one behind the other, and reads the answer.
    pub(super) async fn exchange(
        &self,
        parts: &[&[u8]],
        body: &[u8],
        bytes_max: usize,
    ) -> Result<Answer, Failure> {
        if let Some(wire) = self.waiting() {
            match self.on(wire, parts, body, bytes_max).await {
                Ok(answer) => return Ok(answer),
                Err(Ended::Failed(failure)) => return Err(failure),
                // The receiver had enough of this connection: that says nothing about the event.
                Err(Ended::Unanswered(_)) => {}
            }
        }
        let stream = self.open().await;
        let stream = stream.map_err(|error| Failure::Unreachable(chain(&error)))?;
        let answered = self.on(Wire::new(stream), parts, body, bytes_max).await;
        answered.map_err(|ended| match ended {
            Ended::Failed(failure) => failure,
            Ended::Unanswered(error) => Failure::Unreachable(format!(
                "it closed the connection without an answer: {}",
                chain(&error)
            )),
        })
    }

    async fn on(
        &self,
        mut wire: Wire,
        parts: &[&[u8]],
        body: &[u8],
        bytes_max: usize,
    ) -> Result<Answer, Ended> {
        let (answer, reusable) = wire.exchange(parts, body, bytes_max).await?;
        if reusable {
            let mut idle = self.idle();
            if idle.len() < IDLE_MAX {
                idle.push((wire, Instant::now()));
            }
        }
        Ok(answer)
    }

    /// An idle connection that is still good.
    fn waiting(&self) -> Option<Wire> {
        loop {
            let (mut wire, since) = self.idle().pop()?;
            if since.elapsed() < IDLE_TIME_MAX && wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    async fn open(&self) -> io::Result<Stream> {
        let stream = self.connect.connect(&self.host, self.port).await?;
        let Some(tls) = &self.tls else {
            return Ok(stream);
        };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = tls.load_full().connect(name, stream).await?;
        Ok(Box::new(stream))
    }

    /// Closes what has been idle for too long.
    pub(super) fn tidy(&self) {
        self.idle()
            .retain(|(_, since)| since.elapsed() < IDLE_TIME_MAX);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Wire, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
