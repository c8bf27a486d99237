//! Just enough protobuf to write what instances expose.

/// A varint.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A field of integers.
pub(crate) fn integer(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A field of signed integers, zigzag.
pub(crate) fn signed(number: u64, value: i64) -> Vec<u8> {
    integer(number, zigzag(value))
}

/// Zigzag.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// A field of doubles.
pub(crate) fn double(number: u64, value: f64) -> Vec<u8> {
    [varint(number << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

/// A field of bytes.
pub(crate) fn bytes(number: u64, value: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// A message as a field.
pub(crate) fn message(number: u64, fields: &[u8]) -> Vec<u8> {
    bytes(number, fields)
}

/// A label of a metric.
pub(crate) fn label(name: &str, value: &str) -> Vec<u8> {
    message(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat())
}

/// A delimited family of metrics; types: 0 counter, 1 gauge, 4 histogram.
pub(crate) fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let metrics: Vec<u8> = metrics.iter().flat_map(|metric| message(4, metric)).collect();
    let family = [bytes(1, name.as_bytes()), integer(3, kind), metrics].concat();
    [varint(family.len() as u64), family].concat()
}
