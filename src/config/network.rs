//! A network of addresses, as settings name it: `10.0.0.0/8`, or one address; and where a visitor comes from who came through
//! proxies in such networks.

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

/// Bits of an IPv6 address that tell one customer of a provider from another; the rest is theirs to choose.
const SITE_BITS: u32 = 64;

/// Where a visitor is: at the other end of the connection; where that is a trusted proxy, at the last address that was
/// forwarded and is no such proxy's, because anybody can write what stands before.
pub fn visitor<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let said: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    for before in said.into_iter().rev() {
        let Ok(before) = before.parse() else { break };
        if !is_proxy(address) {
            break;
        }
        address = before;
    }
    address
}

/// The network that counts as one visitor.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> SITE_BITS << SITE_BITS).into(),
        v4 @ IpAddr::V4(_) => v4,
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
