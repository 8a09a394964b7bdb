//! The checksum that PostgreSQL keeps in every page of a cluster with data checksums.
//!
//! Source: `src/include/storage/checksum_impl.h` of PostgreSQL: 32 FNV-1a sums side by side, folded into 16 bits.

/// Bytes of a page.
pub(crate) const PAGE: usize = 8192;
const SUMS: usize = 32;
const ROW: usize = SUMS * 4;
const FNV_PRIME: u32 = 16_777_619;
const OFFSETS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// Where the header keeps the checksum.
const CHECKSUM_AT: usize = 8;

/// What a page's checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageVerdict {
    /// It is what was written.
    Good,
    /// It was never used: all zeros.
    New,
    /// It has been changed since the backup began, and replay writes it anew: nothing to check.
    NotChecked,
    /// It is not what was written, or it was read while it was being written.
    Bad,
}

/// Checks the page of this number in its relation; `start` is where replay of the backup begins.
pub(super) fn check_page(page: &[u8; PAGE], block: u32, start: u64) -> PageVerdict {
    let short = |at: usize| u16::from_ne_bytes([page[at], page[at + 1]]);
    // Without an upper bound a page is new. pg_basebackup lets it pass whatever else is in it; a server that reads it does not.
    if short(14) == 0 && page.iter().all(|byte| *byte == 0) {
        return PageVerdict::New;
    }
    if page_lsn(page.first_chunk().expect("a page is longer")) >= start {
        return PageVerdict::NotChecked;
    }
    if short(CHECKSUM_AT) == checksum(page, block) { PageVerdict::Good } else { PageVerdict::Bad }
}

/// Reads the position of the log up to which a page that begins so has been changed.
pub(super) fn page_lsn(begin: &[u8; 8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = *begin;
    u64::from(u32::from_ne_bytes([a, b, c, d])) << 32 | u64::from(u32::from_ne_bytes([e, f, g, h]))
}

/// Computes the checksum of a page, as if the place of the checksum itself were zero.
fn checksum(page: &[u8; PAGE], block: u32) -> u16 {
    let mut sums = OFFSETS;
    let (rows, _) = page.as_chunks::<ROW>();
    let mut first = rows[0];
    first[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    mix(&mut sums, &first);
    for row in &rows[1..] {
        mix(&mut sums, row);
    }
    for _ in 0..2 {
        mix(&mut sums, &[0; ROW]);
    }
    let folded = sums.into_iter().fold(0, |folded, sum| folded ^ sum) ^ block;
    // Never zero, which would look like a page without one.
    (folded % 65_535 + 1) as u16
}

#[inline(always)]
fn mix(sums: &mut [u32; SUMS], row: &[u8; ROW]) {
    let (words, _) = row.as_chunks::<4>();
    for (sum, word) in sums.iter_mut().zip(words) {
        let mixed = *sum ^ u32::from_ne_bytes(*word);
        *sum = mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of block 7 with some contents, last changed at 16/100.
    fn page() -> [u8; PAGE] {
        let mut page = [0; PAGE];
        for (at, byte) in page.iter_mut().enumerate().skip(24) {
            *byte = (at * at % 251) as u8;
        }
        page[..4].copy_from_slice(&0x16_u32.to_ne_bytes());
        page[4..8].copy_from_slice(&0x100_u32.to_ne_bytes());
        page[14..16].copy_from_slice(&4000_u16.to_ne_bytes());
        let sum = checksum(&page, 7);
        page[8..10].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    #[test]
    fn each_byte_and_the_number_of_the_block_count() {
        let mut page = page();
        let check = |page: &[u8; PAGE], block| check_page(page, block, 0x16_0000_0101);
        assert_eq!(check(&page, 7), PageVerdict::Good);
        // The same page of the relation's next gigabyte.
        assert_eq!(check(&page, 7 + 131_072), PageVerdict::Bad);
        // Before that lies the position, by which a page may be one that is not checked.
        for at in 8..PAGE {
            page[at] ^= 0x10;
            assert_eq!(check(&page, 7), PageVerdict::Bad, "{at}");
            page[at] ^= 0x10;
        }
    }

    #[test]
    fn pages_that_replay_writes_anew_are_not_checked() {
        let mut page = page();
        page[5000] ^= 1;
        assert_eq!(check_page(&page, 7, 0x16_0000_0101), PageVerdict::Bad);
        assert_eq!(check_page(&page, 7, 0x16_0000_0100), PageVerdict::NotChecked);
        assert_eq!(check_page(&[0; PAGE], 7, 0), PageVerdict::New);
        // What a server would refuse to read is not new.
        let mut rubbish = [0; PAGE];
        rubbish[8000] = 1;
        assert_eq!(check_page(&rubbish, 7, 1), PageVerdict::Bad);
    }
}
