//! A network of addresses, as settings name it: `10.0.0.0/8`, or one address.

use std::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is part of it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "must be addresses or networks, such as 10.0.0.0/8 or ::1";
        let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let all = if address.is_ipv4() { u32::BITS } else { Ipv6Addr::BITS };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| WRONG)?;
        if bits > all { Err(WRONG) } else { Ok(Self { address, bits }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_what_shares_its_first_bits() {
        let network = |text: &str| Network::try_from(text.to_owned());
        for (of, address, has) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("2001:db8::/32", "2001:db8:7::1", true),
            ("2001:db8::/32", "10.0.0.1", false),
        ] {
            assert_eq!(network(of).unwrap().has(address.parse().unwrap()), has, "{address} in {of}");
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/-1", "proxy"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
