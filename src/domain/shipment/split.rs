//! Into how many parcels an order goes: one where a box carries it, else as few as putting the heaviest first gives.

use std::cmp::Reverse;

use super::{CannotPack, Item, Package, Parcel, pack, volume};

/// The most parcels of one order: each is a label that is paid for, and whoever needs more ships on pallets.
pub const MOST_PARCELS: usize = 20;

/// One parcel of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its box.
    pub parcel: Parcel,
    /// Pieces in it, in the order of the items.
    pub pieces: Vec<u32>,
}

/// Packs items into one parcel where a box holds them all, else into several: the heaviest pieces first, each into the
/// first parcel that still has room (first fit decreasing, which never needs more than 11/9 of the fewest and one more).
/// The same items and boxes always give the same parcels.
///
/// # Errors
///
/// Nothing to pack, a piece that no box holds, or more than [`MOST_PARCELS`].
pub fn split(items: &[Item], packages: &[Package]) -> Result<Vec<Share>, CannotPack> {
    match pack(items, packages) {
        Ok(parcel) => Ok(vec![Share { parcel, pieces: items.iter().map(|item| item.quantity).collect() }]),
        Err(CannotPack::TooHeavy(_) | CannotPack::TooLarge) => first_fit(items, packages),
        Err(other) => Err(other),
    }
}

fn first_fit(items: &[Item], packages: &[Package]) -> Result<Vec<Share>, CannotPack> {
    let mut heaviest_first: Vec<usize> = (0..items.len()).collect();
    heaviest_first.sort_by_key(|at| (Reverse((items[*at].weight_g, volume(items[*at].sides_mm))), *at));
    let mut boxes: Vec<Vec<u32>> = Vec::new();
    for at in heaviest_first {
        let mut left = items[at].quantity;
        for pieces in &mut boxes {
            left -= fill(items, packages, pieces, (at, left));
        }
        while left > 0 {
            if boxes.len() == MOST_PARCELS {
                return Err(CannotPack::TooMany);
            }
            let mut pieces = vec![0; items.len()];
            let fitting = fill(items, packages, &mut pieces, (at, left));
            if fitting == 0 {
                // Alone, and still no box holds it: that says why.
                pieces[at] = 1;
                return Err(packed(items, packages, &pieces).err().unwrap_or(CannotPack::TooLarge));
            }
            left -= fitting;
            boxes.push(pieces);
        }
    }
    boxes.into_iter().map(|pieces| Ok(Share { parcel: packed(items, packages, &pieces)?, pieces })).collect()
}

/// Puts as many of an item's pieces into a parcel as still fit. What fits, fits with fewer: so the number is searched for
/// by halves, whatever the quantity.
fn fill(items: &[Item], packages: &[Package], pieces: &mut [u32], (at, left): (usize, u32)) -> u32 {
    let already = pieces[at];
    let (mut fitting, mut too_many) = (0, left.saturating_add(1));
    while too_many - fitting > 1 {
        let middle = fitting + (too_many - fitting) / 2;
        pieces[at] = already.saturating_add(middle);
        if packed(items, packages, pieces).is_ok() {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    pieces[at] = already + fitting;
    fitting
}

fn packed(items: &[Item], packages: &[Package], pieces: &[u32]) -> Result<Parcel, CannotPack> {
    let share: Vec<Item> = items
        .iter()
        .zip(pieces)
        .filter(|(_, pieces)| **pieces > 0)
        .map(|(item, pieces)| Item { quantity: *pieces, ..*item })
        .collect();
    pack(&share, packages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn package(name: &str, side_mm: u32, max_weight_g: u32) -> Package {
        Package { name: name.to_owned(), sides_mm: [side_mm; 3], tare_g: 100, max_weight_g }
    }

    fn item(weight_g: u32, side_mm: u32, quantity: u32) -> Item {
        Item { weight_g, sides_mm: [side_mm; 3], quantity }
    }

    #[test]
    fn what_one_box_carries_is_one_parcel() {
        let shares = split(&[item(1_000, 100, 3)], &[package("box", 300, 5_000)]).unwrap();
        assert_eq!(shares.iter().map(|share| share.pieces.clone()).collect::<Vec<_>>(), [[3]]);
    }

    #[test]
    fn what_is_too_heavy_for_one_goes_into_several_the_heaviest_first() {
        let boxes = [package("box", 900, 5_100)];
        let shares = split(&[item(1_000, 100, 4), item(3_000, 100, 3)], &boxes).unwrap();
        let pieces: Vec<_> = shares.iter().map(|share| share.pieces.clone()).collect();
        assert_eq!(pieces, [[2, 1], [2, 1], [0, 1]]);
        assert_eq!(shares[2].parcel.weight_g, 3_100);
    }

    #[test]
    fn what_is_too_large_for_one_goes_into_several() {
        let shares = split(&[item(10, 100, 3)], &[package("box", 120, 5_000)]).unwrap();
        assert_eq!(shares.len(), 3);
    }

    #[test]
    fn a_piece_that_no_box_carries_and_too_many_parcels_are_refused() {
        let boxes = [package("box", 120, 5_000)];
        assert_eq!(split(&[item(10, 10, 1), item(9_000, 10, 2)], &boxes), Err(CannotPack::TooHeavy(9_000)));
        assert_eq!(split(&[item(10, 300, 1)], &boxes), Err(CannotPack::TooLarge));
        assert_eq!(split(&[item(10, 100, 21)], &boxes), Err(CannotPack::TooMany));
        assert_eq!(split(&[], &boxes), Err(CannotPack::Nothing));
    }

    proptest! {
        #[test]
        fn every_piece_lies_in_one_parcel_and_every_parcel_is_one_that_a_box_carries(
            items in prop::collection::vec((1_u32..3_000, 1_u32..200, 0_u32..9), 1..5),
        ) {
            let items: Vec<Item> = items.into_iter().map(|(weight, side, quantity)| item(weight, side, quantity)).collect();
            let boxes = [package("small", 100, 1_000), package("large", 200, 4_000)];
            let Ok(shares) = split(&items, &boxes) else { return Ok(()) };
            for (at, item) in items.iter().enumerate() {
                prop_assert_eq!(shares.iter().map(|share| share.pieces[at]).sum::<u32>(), item.quantity);
            }
            for share in &shares {
                let alone = packed(&items, &boxes, &share.pieces);
                prop_assert_eq!(alone.as_ref(), Ok(&share.parcel));
            }
        }
    }
}
