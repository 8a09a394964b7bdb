//! The cluster that a data directory belongs to, from its control file.

use super::WalError;

/// Versions of the control file that servers of version 13 to 18 and a few after them write: 1300, 1700, 1800.
const VERSIONS: std::ops::RangeInclusive<u32> = 1300..=2500;

/// Reads the system identifier in the bytes of `global/pg_control`.
///
/// It is the first field and never changes after `initdb`, so that it can be read while the server writes the file.
///
/// # Errors
/// [`WalError::Control`] for what is no control file of a little-endian server of version 13 or newer.
pub fn system_identifier_of_control(file: &str, bytes: &[u8]) -> Result<u64, WalError> {
    let wrong = || WalError::Control { file: file.to_owned() };
    let (identifier, rest) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let version = u32::from_le_bytes(*rest.first_chunk::<4>().ok_or_else(wrong)?);
    let identifier = u64::from_le_bytes(*identifier);
    if identifier == 0 || !VERSIONS.contains(&version) { Err(wrong()) } else { Ok(identifier) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_control_file_has_an_identifier() {
        let mut bytes = 42_u64.to_le_bytes().to_vec();
        assert!(system_identifier_of_control("x", &bytes).is_err());
        bytes.extend_from_slice(&1700_u32.to_le_bytes());
        assert_eq!(system_identifier_of_control("x", &bytes), Ok(42));
        for version in [0, 1299, 2501, u32::MAX] {
            bytes[8..].copy_from_slice(&u32::to_le_bytes(version));
            assert!(system_identifier_of_control("x", &bytes).is_err(), "{version}");
        }
        assert!(system_identifier_of_control("x", &[0; 512]).is_err());
    }
}
