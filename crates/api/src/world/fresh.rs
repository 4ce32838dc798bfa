//! Which objects were put last: they are likely to be looked at again and stay as they are. The
//! others are to be packed.

use std::collections::VecDeque;

use stdx::Packer;

use super::Kind;
use super::table::Slot;

/// Bytes of objects that are not packed: a thousand or more.
const BYTES_MAX: usize = 2 << 20;

/// Where an object is, and its version when it was put.
type Place = (Kind, Slot, u64);

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Fresh {
    places: VecDeque<(Place, usize)>,
    bytes: usize,
    packer: Packer,
}

impl Fresh {
    pub(super) fn push(&mut self, place: Place, len: usize) {
        self.places.push_back((place, len));
        self.bytes += len;
    }

    /// The oldest, while there are too many.
    pub(super) fn pop_surplus(&mut self) -> Option<Place> {
        if self.bytes <= BYTES_MAX {
            return None;
        }
        let (place, len) = self.places.pop_front()?;
        self.bytes -= len;
        Some(place)
    }

    pub(super) fn packer(&mut self) -> &mut Packer {
        &mut self.packer
    }
}
