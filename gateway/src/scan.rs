//! Finds single fields in encoded protobuf messages without decoding them. Takes anything: bytes that are no protobuf
//! message are an error, never a panic, and nothing is read twice or copied.

/// The bytes are no protobuf message of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a protobuf message")]
pub(crate) struct Malformed;

/// The value of one field as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

/// The top-level fields of a message in wire order; ends after the first error.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (i, byte) in self.0.iter().copied().enumerate().take(10) {
            // The tenth byte has room for one bit.
            if i == 9 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups went away with proto2.
            _ => return Err(Malformed),
        };
        if tag >> 3 == 0 {
            return Err(Malformed);
        }
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The bytes of the field at `path` (field numbers from the outside in), as a decoder would have it: the last occurrence
/// wins, also when the messages around it occur several times. Walks the whole message, so that garbage behind the field
/// is found too.
pub(crate) fn find<'a>(message: &'a [u8], path: &[u32]) -> Result<Option<&'a [u8]>, Malformed> {
    let Some((&number, inner)) = path.split_first() else { return Ok(Some(message)) };
    let mut found = None;
    for field in Fields::new(message) {
        match field? {
            (n, Value::Bytes(bytes)) if n == number => found = find(bytes, inner)?.or(found),
            (n, _) if n == number => return Err(Malformed),
            _ => {}
        }
    }
    Ok(found)
}

/// The message without the fields of a number.
pub(crate) fn without(message: &[u8], number: u32) -> Result<Vec<u8>, Malformed> {
    let mut left = Vec::with_capacity(message.len());
    let mut fields = Fields::new(message);
    loop {
        let before = fields.rest();
        match fields.next().transpose()? {
            Some((found, _)) if found == number => {}
            Some(_) => left.extend_from_slice(&before[..before.len() - fields.rest().len()]),
            None => return Ok(left),
        }
    }
}

/// Appends a varint field.
pub(crate) fn push_varint(message: &mut Vec<u8>, number: u32, value: u64) {
    varint(message, u64::from(number) << 3);
    varint(message, value);
}

/// Appends a field of bytes or text.
pub(crate) fn push_bytes(message: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(message, u64::from(number) << 3 | 2);
    varint(message, value.len() as u64);
    message.extend_from_slice(value);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    message.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests;
