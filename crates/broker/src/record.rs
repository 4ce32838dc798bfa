//! An event as the log keeps it: how often it may enter a broker again, the headers that travel
//! with it, and the event in the form of `cloudevents`. Written by `ingress`, read by `dispatch`;
//! the layout is in `docs/events.md`.

use std::sync::OnceLock;

use bytes::{Buf, Bytes};
use cloudevents::{Event, Mode};

/// The first byte of every record.
const VERSION: u8 = 1;
/// Headers that can travel with one event.
const HEADERS_MAX: usize = 255;

/// A record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is cut short or of another version; was it written by a newer rekindle?")]
    Envelope,
    #[error(transparent)]
    Event(#[from] cloudevents::Error),
}

/// What a record says besides the event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meta {
    /// How many more times it may enter a broker again.
    pub(crate) hops: u8,
}

/// The record of `event`, which came with `headers`: version, hops, number of headers, each as
/// the lengths of name and value (2 bytes little-endian each), name, value; then the event. A
/// header longer than 64 KiB does not travel.
pub(crate) fn encode<'a>(
    meta: Meta,
    event: &Event,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Bytes {
    let mut record = Vec::with_capacity(64 + event.size());
    record.extend_from_slice(&[VERSION, meta.hops, 0]);
    for (name, value) in headers.take(HEADERS_MAX) {
        let (Ok(name_bytes), Ok(value_bytes)) =
            (u16::try_from(name.len()), u16::try_from(value.len()))
        else {
            continue;
        };
        record[2] += 1;
        record.extend_from_slice(&name_bytes.to_le_bytes());
        record.extend_from_slice(&value_bytes.to_le_bytes());
        record.extend_from_slice(name.as_bytes());
        record.extend_from_slice(value);
    }
    record.extend_from_slice(&event.to_record());
    record.into()
}

/// A record that was read, sharing the bytes of the log's buffer.
#[derive(Debug)]
pub(crate) struct Record {
    meta: Meta,
    headers: Vec<(Bytes, Bytes)>,
    event: Event,
    size: usize,
    /// As it is sent, once it was: in its own mode, binary, structured.
    parcels: [OnceLock<Parcel>; 3],
}

/// A request's share of an event, the same for all who are sent it.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// Of the head, each with its end; without the one of the trace.
    pub(crate) lines: Vec<u8>,
    /// The `traceparent` it came with, as a line, or nothing.
    pub(crate) trace: Vec<u8>,
    /// The body.
    pub(crate) body: Bytes,
}

impl Record {
    pub(crate) fn parse(mut bytes: Bytes) -> Result<Self, Unreadable> {
        let size = bytes.len();
        let cut = Unreadable::Envelope;
        let [VERSION, hops, count] = *bytes.first_chunk::<3>().ok_or(cut)? else {
            return Err(Unreadable::Envelope);
        };
        bytes.advance(3);
        let mut headers = Vec::with_capacity(count.into());
        for _ in 0..count {
            let lengths = bytes.first_chunk::<4>().ok_or(Unreadable::Envelope)?;
            let name: usize = u16::from_le_bytes([lengths[0], lengths[1]]).into();
            let value: usize = u16::from_le_bytes([lengths[2], lengths[3]]).into();
            bytes.advance(4);
            if bytes.len() < name + value {
                return Err(Unreadable::Envelope);
            }
            headers.push((bytes.split_to(name), bytes.split_to(value)));
        }
        Ok(Self {
            meta: Meta { hops },
            headers,
            event: Event::from_record(&bytes)?,
            size,
            parcels: Default::default(),
        })
    }

    pub(crate) fn meta(&self) -> Meta {
        self.meta
    }

    /// The event.
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// About how many bytes of memory it keeps.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The event as it is sent in `mode`, or its own, which `make` makes the first time.
    pub(crate) fn parcel(&self, mode: Option<Mode>, make: impl FnOnce() -> Parcel) -> &Parcel {
        let place = match mode {
            None => 0,
            Some(Mode::Binary) => 1,
            Some(Mode::Structured) => 2,
        };
        self.parcels[place].get_or_init(make)
    }

    /// A header that goes with it.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known[..] == *name.as_bytes())?;
        Some(value)
    }

    /// Names and values of the headers that go with it.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.headers.iter().map(|(name, value)| (name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Event, Bytes) {
        let mut event = Event::new("1", "/s", "größe").expect("valid");
        event
            .set_data("text/plain", Bytes::from_static(b"hello"))
            .expect("valid");
        let headers: [(&str, &[u8]); 2] = [("traceparent", b"00-x"), ("knative-a", b"")];
        let record = encode(Meta { hops: 254 }, &event, headers.into_iter());
        (event, record)
    }

    #[test]
    fn what_was_written_is_read() {
        let (event, bytes) = sample();
        let record = Record::parse(bytes).expect("a record");
        assert_eq!(record.meta(), Meta { hops: 254 });
        assert_eq!(record.event(), &event);
        let headers: Vec<_> = record.headers().map(|(n, v)| (&n[..], &v[..])).collect();
        let expected: [(&[u8], &[u8]); 2] = [(b"traceparent", b"00-x"), (b"knative-a", b"")];
        assert_eq!(headers, expected);
    }

    #[test]
    fn an_envelope_that_is_cut_short_is_refused() {
        let (_, whole) = sample();
        for end in 0..20 {
            assert!(Record::parse(whole.slice(..end)).is_err(), "{end} bytes");
        }
        let mut newer = whole.to_vec();
        newer[0] = VERSION + 1;
        assert!(Record::parse(newer.into()).is_err());
    }
}
