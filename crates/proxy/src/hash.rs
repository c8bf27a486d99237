//! The stable hash behind sticky routing. It must never change: a user's release depends on it.

/// Number of buckets that a share in basis points is cut into.
pub(crate) const BUCKETS: u64 = 10_000;

/// The bucket (`0..10_000`) of a key: FNV-1a, 64 bit, then the finisher of `MurmurHash3`, because the low bits of FNV alone
/// are not even enough for short keys.
pub(crate) fn bucket(key: &[u8]) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    u16::try_from(hash % BUCKETS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_never_change_between_versions() {
        assert_eq!((bucket(b""), bucket(b"user-1"), bucket(b"127.0.0.1")), (4342, 5477, 3154));
    }

    #[test]
    fn short_keys_fill_the_buckets_evenly() {
        let low = (0..100_000).filter(|n: &u32| bucket(n.to_string().as_bytes()) < 500).count();
        assert!((4_700..5_300).contains(&low), "5 % of 100,000 keys should be about 5,000, is {low}");
    }
}
