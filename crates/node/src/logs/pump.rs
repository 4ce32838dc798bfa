//! From a container's pipe or terminal to its log and to whoever is attached.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::{LogFile, Stream};
use crate::pipe::Reader;
use tokio::io::AsyncReadExt;

/// Output of a container as it is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) stream: Stream,
    pub(crate) bytes: Bytes,
}

/// Copies until the last writer is gone. Output that cannot be logged (a full disk) is dropped,
/// because a container that is blocked on its log is worse off.
pub(crate) async fn pump(
    from: OwnedFd,
    stream: Stream,
    log: Arc<LogFile>,
    attached: broadcast::Sender<Output>,
) -> io::Result<()> {
    let mut reader = Reader::new(from)?;
    let mut buffer = vec![0; 32 << 10];
    let mut warned = false;
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if let Err(error) = log.append(stream, &buffer[..length])
            && !warned
        {
            warned = true;
            tracing::warn!(%error, path = %log.path().display(), "output of a container is lost");
        }
        if attached.receiver_count() > 0 {
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            let _ = attached.send(Output { stream, bytes });
        }
    }
}
