//! Data that resembles the rows of a dump: the same on every machine.

use std::io::Write as _;

/// Returns `length` bytes: numbers that count up, words that repeat, amounts and keys that do not.
pub(super) fn rows(length: usize) -> Vec<u8> {
    const STATUS: [&str; 4] = ["placed", "paid", "shipped", "cancelled"];
    const TOWNS: [&str; 5] = ["Hamburg", "Lyon", "Gdańsk", "Porto", "Malmö"];
    let mut state = 1_u64;
    let mut data = Vec::with_capacity(length + 256);
    let mut number = 100_000_u64;
    while data.len() < length {
        // Knuth's MMIX generator: its upper bits are good enough to be incompressible.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = state >> 33;
        let written = writeln!(
            data,
            "{number}\t{:016x}\t{}\t2026-{:02}-{:02} {:02}:{:02}:{:02}+00\t{}.{:02}\t{{\"town\": \"{}\", \"vip\": {}}}\t\\N",
            state,
            STATUS[(pick % 4) as usize],
            1 + number / 9000 % 12,
            1 + number / 300 % 28,
            number / 60 % 24,
            number % 60,
            pick % 60,
            pick % 9000,
            pick % 100,
            TOWNS[(pick % 5) as usize],
            pick.is_multiple_of(17),
        );
        written.expect("memory takes every write");
        number += 1;
    }
    data.truncate(length);
    data
}

#[cfg(test)]
mod tests {
    use erpgo_dr_core::Codec;

    #[test]
    fn it_compresses_as_dumps_do() {
        let data = super::rows(1 << 20);
        assert_eq!((data.len(), &data), (1 << 20, &super::rows(1 << 20)));
        let mut stored = Vec::new();
        Codec::default().compress(&data, &mut stored).unwrap();
        let ratio = data.len() as f64 / stored.len() as f64;
        assert!((2.0..8.0).contains(&ratio), "{ratio}");
    }
}
