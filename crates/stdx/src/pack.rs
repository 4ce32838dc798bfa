//! Similar byte strings in little memory: what many have in common is kept once, as a pattern, and
//! of each only that in which it differs from it.
//!
//! Objects of one kind differ in names, UIDs and times; packed they take a tenth or less. Whoever
//! keeps many of them and looks at few packs the others: the World of `api`, the API server's
//! store. The means is zstd with strings of the same kind as a raw dictionary.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use zstd::zstd_safe::{CCtx, DCtx, compress_bound};

/// Level of compression: the quickest, since a pattern does most.
const LEVEL: i32 = 1;
/// Strings in a pattern.
const SAMPLES: usize = 3;
/// Bytes of one string in a pattern.
const SAMPLE_BYTES_MAX: usize = 8 << 10;
/// Bytes of a pattern, which is read anew for each string; the first string may exceed it.
const PATTERN_BYTES_MAX: usize = 10 << 10;
/// So many strings of a kind have been packed before its first pattern is made …
const FIRST_PATTERN: u64 = 16;
/// … and so many times more before every further one: the later strings are the truer ones.
const NEXT_PATTERN: u64 = 4;
/// A string without a pattern is worth packing from this size.
const ALONE_BYTES_MIN: usize = 4 << 10;

thread_local! {
    static UNPACKER: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Packs. One is enough for all kinds of strings.
pub struct Packer(CCtx<'static>);

/// What the strings of one kind have in common.
#[derive(Default)]
pub struct Kin {
    /// Strings of this kind, one after the other.
    pattern: Option<Arc<[u8]>>,
    /// Strings seen so far.
    seen: u64,
    /// At this number a new pattern is made.
    due: u64,
    /// The last strings before that.
    samples: VecDeque<Box<[u8]>>,
}

/// A packed string.
#[derive(Clone)]
pub struct Packed {
    pattern: Option<Arc<[u8]>>,
    len: u32,
    rest: Box<[u8]>,
}

impl Default for Packer {
    fn default() -> Self {
        Self(CCtx::create())
    }
}

impl Packer {
    /// Packs `plain`, one of `kin`; nothing when that is not worth it.
    pub fn pack(&mut self, kin: &mut Kin, plain: &[u8]) -> Option<Packed> {
        kin.see(plain);
        if kin.pattern.is_none() && plain.len() < ALONE_BYTES_MIN {
            return None;
        }
        let len = u32::try_from(plain.len()).ok()?;
        let mut rest = Vec::with_capacity(compress_bound(plain.len()));
        let pattern = kin.pattern.as_deref().unwrap_or_default();
        // A failure here can only be one to get memory: the string stays as it is.
        let packed = self.0.compress_using_dict(&mut rest, plain, pattern, LEVEL);
        packed.ok()?;
        (rest.len() < plain.len() / 2).then(|| Packed {
            pattern: kin.pattern.clone(),
            len,
            // A copy of the right size: shrinking would leave a hole behind it.
            rest: rest.as_slice().into(),
        })
    }
}

impl Packed {
    /// The string as it was.
    pub fn bytes(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(self.len());
        let pattern = self.pattern.as_deref().unwrap_or_default();
        let unpacked = UNPACKER.with_borrow_mut(|unpacker| {
            unpacker.decompress_using_dict(&mut plain, &self.rest, pattern)
        });
        unpacked.expect("was packed in this process, with the pattern it holds");
        plain
    }

    /// The length of the string as it was, in bytes.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the string is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The length of what is kept of it, in bytes.
    pub const fn packed_len(&self) -> usize {
        self.rest.len()
    }
}

impl Kin {
    fn sample_bytes(&self) -> usize {
        self.samples.iter().map(|sample| sample.len()).sum()
    }

    fn see(&mut self, plain: &[u8]) {
        self.seen += 1;
        let due = self.due.max(FIRST_PATTERN);
        if self.seen + SAMPLES as u64 > due {
            let sample = &plain[..plain.len().min(SAMPLE_BYTES_MAX)];
            self.samples.push_back(sample.into());
        }
        if self.seen < due {
            return;
        }
        // The last strings stay, in their order.
        while self.samples.len() > 1 && self.sample_bytes() > PATTERN_BYTES_MAX {
            self.samples.pop_front();
        }
        let samples: Vec<&[u8]> = self.samples.iter().map(AsRef::as_ref).collect();
        self.pattern = Some(samples.concat().into());
        self.samples = VecDeque::new();
        self.due = due * NEXT_PATTERN;
    }
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Kin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kin")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("len", &self.len)
            .field("packed_len", &self.packed_len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Some 2 KB of which a name and a few random letters are its own.
    fn object(random: &mut Rng, n: usize) -> Vec<u8> {
        let uid = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        let labels: String = (0..40)
            .map(|label| format!("\"serving.knative.dev/label-{label}\":\"of-{n}\","))
            .collect();
        format!("{{\"name\":\"hello-{n}\",\"uid\":\"{uid}\",{labels}}}").into_bytes()
    }

    #[test]
    fn what_is_packed_comes_back_and_takes_a_tenth() {
        let (mut packer, mut kin) = (Packer::default(), Kin::default());
        let mut random = Rng::new(7);
        let (mut before, mut after) = (0, 0);
        for n in 0..1000 {
            let plain = object(&mut random, n);
            let Some(packed) = packer.pack(&mut kin, &plain) else {
                assert!(n < 15, "{n} was not packed");
                continue;
            };
            assert_eq!((packed.bytes(), packed.len()), (plain.clone(), plain.len()));
            before += packed.len();
            after += packed.packed_len();
        }
        assert!(after * 10 < before, "{before} bytes became {after}");
    }

    #[test]
    fn what_has_no_kin_is_packed_if_it_is_long_and_what_is_random_never() {
        let (mut packer, mut kin) = (Packer::default(), Kin::default());
        let long = b"abcdefghij".repeat(1000);
        let packed = packer.pack(&mut kin, &long).expect("packed");
        assert_eq!(packed.bytes(), long);
        assert!(packer.pack(&mut kin, b"short").is_none());
        let mut random = Rng::new(1);
        let noise: Vec<u8> = (0..10_000)
            .map(|_| random.next_u64().to_le_bytes()[0])
            .collect();
        assert!(packer.pack(&mut kin, &noise).is_none());
    }

    #[test]
    fn the_empty_string_stays() {
        let (mut packer, mut kin) = (Packer::default(), Kin::default());
        for _ in 0..100 {
            assert!(packer.pack(&mut kin, b"").is_none());
        }
    }
}
