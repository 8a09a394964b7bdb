//! Reads the primitive values of an archive from bytes that may not all be there yet.

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    /// At least so many bytes, from the beginning of what was given, are needed.
    Needs(usize),
    /// What is there is wrong.
    Wrong(&'static str),
}

/// Bytes of an integer: its sign and four bytes, least significant first.
pub(super) const INT_BYTES: usize = 5;

/// Decodes an integer. Like pg_restore, it takes any sign byte but 0 as minus.
pub(super) fn decode_int(bytes: [u8; INT_BYTES]) -> i64 {
    let [sign, magnitude @ ..] = bytes;
    let magnitude = i64::from(u32::from_le_bytes(magnitude));
    if sign == 0 { magnitude } else { -magnitude }
}

/// Encodes an integer.
pub(super) fn encode_int(value: i32) -> [u8; INT_BYTES] {
    let [a, b, c, d] = value.unsigned_abs().to_le_bytes();
    [u8::from(value < 0), a, b, c, d]
}

/// A cursor over the beginning of something.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns how many bytes were read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Gap> {
        let end = self.position.checked_add(count).ok_or(Gap::Wrong("a length out of range"))?;
        let taken = self.bytes.get(self.position..end).ok_or(Gap::Needs(end))?;
        self.position = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Gap> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn int(&mut self) -> Result<i64, Gap> {
        let bytes = self.take(INT_BYTES)?;
        Ok(decode_int(bytes.try_into().map_err(|_| Gap::Wrong("an integer"))?))
    }

    pub(super) fn int32(&mut self) -> Result<i32, Gap> {
        i32::try_from(self.int()?).map_err(|_| Gap::Wrong("an integer out of range"))
    }

    /// Reads a string; `None` is the null that pg_dump writes as length -1.
    pub(super) fn string(&mut self) -> Result<Option<&'a [u8]>, Gap> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Gap::Wrong("a string of negative length"))?;
                self.take(length).map(Some)
            }
        }
    }

    /// Reads a string as text. What is not UTF-8 (a dump in another encoding) is shown with U+FFFD.
    pub(super) fn text(&mut self) -> Result<String, Gap> {
        Ok(self.optional_text()?.unwrap_or_default())
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, Gap> {
        Ok(self.string()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Reads a number that is written as a string of decimal digits; `None` is null.
    pub(super) fn decimal<T: std::str::FromStr>(&mut self) -> Result<Option<T>, Gap> {
        let Some(bytes) = self.string()? else { return Ok(None) };
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or(Gap::Wrong("a number in the table of contents"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_a_sign_and_four_bytes() {
        assert_eq!(decode_int([0, 0x2c, 1, 0, 0]), 300);
        assert_eq!(decode_int([1, 1, 0, 0, 0]), -1);
        assert_eq!(decode_int([0, 255, 255, 255, 255]), 4_294_967_295);
        for value in [0, 1, 300, -1, i32::MAX, i32::MIN] {
            assert_eq!(decode_int(encode_int(value)), i64::from(value));
        }
    }

    #[test]
    fn what_is_missing_is_counted_from_the_beginning() {
        let mut reader = Reader::new(&[0, 3, 0, 0, 0, b'a']);
        assert_eq!(reader.string(), Err(Gap::Needs(8)));
        let mut reader = Reader::new(&[1, 2, 0, 0, 0]);
        assert_eq!(reader.string(), Err(Gap::Wrong("a string of negative length")));
        let mut reader = Reader::new(&[1, 1, 0, 0, 0]);
        assert_eq!(reader.string(), Ok(None));
    }
}
