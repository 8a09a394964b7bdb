//! What a slot wraps: text that names its epoch, so that a person who opens one by hand can use it.

use zeroize::Zeroizing;

use crate::crypto::{CryptoError, EpochKey};
use crate::types::EpochId;

const TITLE: &str = "erpgo-dr epoch key v1";

/// More than any payload has, in bytes.
pub(super) const MAX_LEN: usize = 256;

/// Returns the title, the epoch and 64 hexadecimal digits of the key, each on a line of its own.
pub(super) fn encode(epoch: &EpochId, key: &EpochKey) -> Zeroizing<Vec<u8>> {
    let digits = Zeroizing::new(hex::encode(key.expose()));
    let mut payload = Zeroizing::new(Vec::with_capacity(MAX_LEN));
    for line in [TITLE, epoch.as_str(), &digits] {
        payload.extend_from_slice(line.as_bytes());
        payload.push(b'\n');
    }
    payload
}

/// Reads what came out of a slot: the epoch that it names, and its key.
///
/// The last line may lack its line feed, which some tools strip.
///
/// # Errors
/// [`CryptoError::SlotCorrupt`] for anything that is not such a text.
pub fn parse_payload(payload: &[u8]) -> Result<(EpochId, EpochKey), CryptoError> {
    let corrupt = |reason| CryptoError::SlotCorrupt { reason };
    let text = std::str::from_utf8(payload).map_err(|_| corrupt("it holds no text"))?;
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    if lines.next() != Some(TITLE) {
        return Err(corrupt("it does not hold an epoch key of version 1"));
    }
    let epoch = lines.next().unwrap_or_default().parse().map_err(|_| corrupt("it names no epoch"))?;
    let digits = lines.next().unwrap_or_default();
    let mut key = Zeroizing::new([0; 32]);
    let lower = digits.bytes().all(|b| !b.is_ascii_uppercase());
    if !lower || hex::decode_to_slice(digits, key.as_mut_slice()).is_err() || lines.next().is_some() {
        return Err(corrupt("the key in it is not 64 hexadecimal digits"));
    }
    Ok((epoch, EpochKey::from_bytes(*key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "erpgo-dr epoch key v1\n20261124T033857Z-5f3a9c1e\n\
                        000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

    #[test]
    fn the_text_is_the_documented_one() {
        let key = EpochKey::from_bytes(std::array::from_fn(|i| i as u8));
        let epoch = "20261124T033857Z-5f3a9c1e".parse().unwrap();
        assert_eq!(encode(&epoch, &key).as_slice(), TEXT.as_bytes());
        for text in [TEXT, TEXT.trim_end()] {
            let (found, read) = parse_payload(text.as_bytes()).unwrap();
            assert_eq!((found, read.expose()), (epoch.clone(), key.expose()));
        }
    }

    #[test]
    fn anything_else_is_corrupt() {
        let text = TEXT.trim_end();
        let cases: [Vec<u8>; 10] = [
            Vec::new(),
            b"\xff".to_vec(),
            text.as_bytes()[..text.len() - 1].to_vec(),
            format!("{text}0").into(),
            format!("{TEXT}\n").into(),
            format!("{TEXT}more\n").into(),
            text.to_uppercase().into(),
            text.replace("v1", "v2").into(),
            text.replace("0a0b", "0A0B").into(),
            text.replace("T03", " 03").into(),
        ];
        for case in cases {
            let outcome = parse_payload(&case);
            assert!(matches!(outcome, Err(CryptoError::SlotCorrupt { .. })), "{case:?}");
        }
    }
}
