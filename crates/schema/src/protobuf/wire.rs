//! The protobuf wire format: a message's fields one after another.

use super::Error;

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry<'a> {
    pub(super) number: u32,
    pub(super) payload: Payload<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of `message` in the order they come.
pub(super) fn entries(message: &[u8]) -> Entries<'_> {
    Entries { rest: message }
}

pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = entry(&mut self.rest);
        if entry.is_err() {
            // What follows cannot be told apart any more.
            self.rest = &[];
        }
        Some(entry)
    }
}

fn entry<'a>(rest: &mut &'a [u8]) -> Result<Entry<'a>, Error> {
    let tag = varint(rest)?;
    let payload = match tag & 7 {
        0 => Payload::Varint(varint(rest)?),
        1 => Payload::Fixed64(u64::from_le_bytes(fixed(rest)?)),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Error::Truncated)?;
            Payload::Bytes(take(rest, length)?)
        }
        5 => Payload::Fixed32(u32::from_le_bytes(fixed(rest)?)),
        other => return Err(Error::WireType(other)),
    };
    let number = u32::try_from(tag >> 3).map_err(|_| Error::Truncated)?;
    Ok(Entry { number, payload })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Error::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    take(rest, N)?.try_into().map_err(|_| Error::Truncated)
}

/// A base-128 number, at most ten bytes.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, Error> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Error::Truncated)
}
