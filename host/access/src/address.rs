//! Which addresses belong to the internet, and which to somebody's own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a machine in Azure finds its platform, goal states and certificates with it: a public address by its registration,
/// and answered by no one but the host a machine runs on.
pub const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether anybody on the internet may have this address. Everything the IANA special-purpose registries do not call
/// globally reachable is not, nor is [`AZURE_WIRE_SERVER`], nor an IPv6 address that carries an IPv4 one which is not.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || address == AZURE_WIRE_SERVER
        || a == 0                              // "this network", RFC 791
        || a >= 240                            // reserved, RFC 1112, and broadcast
        || (a, b & 0xc0) == (100, 64)          // shared address space, RFC 6598
        || (a, b, c) == (192, 0, 0)            // protocol assignments, RFC 6890
        || (a, b, c) == (192, 88, 99)          // 6to4 relays, RFC 7526
        || (a, b & 0xfe) == (198, 18)) // benchmarks, RFC 2544
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Unspecified, loopback and IPv4-compatible; and what was translated by an algorithm that is no more (RFC 2765).
    if let [0, 0, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] = segments {
        return false;
    }
    if let IpAddr::V4(address) = carried(address.into()) {
        return is_public_v4(address);
    }
    match segments {
        // The local use of NAT64 (RFC 8215).
        [0x64, 0xff9b, 1, ..] => false,
        // Teredo, benchmarking and what else 2001::/23 holds, and documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        // Only 2000::/3 is handed out for global use; unique-local, link-local, site-local and multicast lie outside.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// The IPv4 address that an IPv6 address carries and leads to; else the address itself.
#[must_use]
pub fn carried(address: IpAddr) -> IpAddr {
    let IpAddr::V6(address) = address else { return address };
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        // Unspecified and loopback carry none.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address.into(),
        // IPv4-compatible (RFC 4291 section 2.5.5.1, deprecated) and IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        // IPv4-translated (RFC 2765 section 2.1, obsolete).
        [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low),
        // Translated by NAT64 (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => embedded(high, low),
        _ => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::7f00:1", false),
            ("::ffff:0:7f00:1", false),
            ("::ffff:0:808:808", false),
            ("64:ff9b:1::808:808", false),
            ("168.63.129.16", false),
            ("168.63.129.15", true),
            ("::ffff:168.63.129.16", false),
            ("64:ff9b::a83f:8110", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", true),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    /// Blocks of the special-purpose registries, and what else is not the internet: first address and prefix.
    const PRIVATE_V4: [(Ipv4Addr, u32); 18] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(233, 252, 0, 0), 24),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
        (Ipv4Addr::new(255, 255, 255, 255), 32),
    ];

    fn in_block(address: Ipv4Addr, (first, prefix): (Ipv4Addr, u32)) -> bool {
        (address.to_bits() ^ first.to_bits()) >> (32 - prefix) == 0
    }

    /// Every way an IPv6 address can carry an IPv4 one to where it leads: mapped, translated, and 6to4.
    fn carriers(inner: Ipv4Addr, rest: u64) -> [Ipv6Addr; 3] {
        let bits = u128::from(inner.to_bits());
        [
            inner.to_ipv6_mapped(),
            Ipv6Addr::from_bits((0x64_ff9b << 96) | bits),
            Ipv6Addr::from_bits((0x2002 << 112) | (bits << 80) | u128::from(rest)),
        ]
    }

    proptest! {
        /// By the list of blocks, which is written in another way than the code.
        #[test]
        fn an_ipv4_address_is_public_unless_a_block_holds_it(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let private = PRIVATE_V4.iter().any(|block| in_block(address, *block));
            prop_assert_eq!(is_public(IpAddr::V4(address)), !private);
        }

        /// Both ends of each block and whatever lies between.
        #[test]
        fn no_address_of_a_private_block_is_public_nor_inside_an_ipv6_one(
            block in proptest::sample::select(&PRIVATE_V4[..]), inside: u32, end in 0..3, rest: u64
        ) {
            let host = u32::MAX.checked_shr(block.1).unwrap_or(0);
            let address = Ipv4Addr::from_bits(block.0.to_bits() | match end { 0 => 0, 1 => host, _ => inside & host });
            prop_assert!(!is_public(IpAddr::V4(address)), "{}", address);
            for carrier in carriers(address, rest) {
                prop_assert!(!is_public(IpAddr::V6(carrier)), "{} in {}", address, carrier);
            }
        }

        #[test]
        fn an_ipv4_address_is_no_more_public_inside_an_ipv6_one(bits: u32, rest: u64) {
            let inner = Ipv4Addr::from_bits(bits);
            for carrier in carriers(inner, rest) {
                prop_assert_eq!(is_public(IpAddr::V6(carrier)), is_public(IpAddr::V4(inner)), "{}", carrier);
            }
        }

        /// Loopback, unique-local, link-local, site-local, multicast, and all that is not handed out.
        #[test]
        fn an_ipv6_address_outside_of_global_unicast_is_not_public(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            let carries = address.to_ipv4_mapped().is_some() || bits >> 32 == 0x64_ff9b << 64;
            prop_assume!(bits >> 125 != 1 && !carries);
            prop_assert!(!is_public(IpAddr::V6(address)));
        }

        #[test]
        fn what_2001_holds_below_23_bits_and_the_documentation_s_blocks_are_not_public(bits: u128, which in 0..3) {
            let (first, prefix): (u128, u32) = match which {
                0 => (0x2001 << 112, 23),
                1 => (0x2001_0db8 << 96, 32),
                _ => (0x3fff << 112, 20),
            };
            let address = Ipv6Addr::from_bits(first | bits >> prefix);
            prop_assert!(!is_public(IpAddr::V6(address)), "{}", address);
        }
    }
}
