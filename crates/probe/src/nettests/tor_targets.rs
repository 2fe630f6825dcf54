//! Which Tor servers the test contacts when nobody names others: directory authorities and the bridges that
//! Tor Browser ships, all public.
//!
//! Origin: the targets that OONI's API serves to probes (ooni/backend, `ooniprobe` service, August 2026),
//! which follow `auth_dirs.inc` of tor and the default bridges of Tor Browser. They change: an address that
//! moved looks blocked, so a session may bring its own list.

/// A directory authority; `Serge` is the authority of bridges.
pub struct Authority {
    /// its name
    pub name: &'static str,
    /// fingerprint of its relay identity
    pub fingerprint: &'static str,
    /// address
    pub ip: &'static str,
    /// port of the link protocol, TLS
    pub or_port: u16,
    /// port of the directory, HTTP
    pub dir_port: u16,
}

/// A bridge that speaks obfs4.
pub struct Bridge {
    /// address and port
    pub address: &'static str,
    /// fingerprint of its relay identity
    pub fingerprint: &'static str,
    /// `cert` of its bridge line
    pub cert: &'static str,
    /// `iat-mode` of its bridge line
    pub iat_mode: &'static str,
}

const fn authority(
    name: &'static str,
    fingerprint: &'static str,
    ip: &'static str,
    or_port: u16,
    dir_port: u16,
) -> Authority {
    Authority { name, fingerprint, ip, or_port, dir_port }
}

const fn bridge(
    address: &'static str,
    fingerprint: &'static str,
    cert: &'static str,
    iat_mode: &'static str,
) -> Bridge {
    Bridge { address, fingerprint, cert, iat_mode }
}

/// The authorities.
pub const AUTHORITIES: [Authority; 10] = [
    authority("bastet", "24E2F139121D4394C54B5BCC368B3B411857C413", "204.13.164.118", 443, 80),
    authority("dannenberg", "7BE683E65D48141321C5ED92F075C55364AC7123", "193.23.244.244", 443, 80),
    authority("dizum", "7EA6EAD6FD83083C538F44038BBFA077587DD755", "45.66.35.11", 443, 80),
    authority("Faravahar", "E3E42D35F801C9D5AB23584E0025D56FE2B33396", "216.218.219.41", 443, 80),
    authority("gabelmoo", "F2044413DAC2E02E3D6BCF4735A19BCA1DE97281", "131.188.40.189", 443, 80),
    authority("longclaw", "74A910646BCEEFBCD2E874FC1DC997430F968145", "199.58.81.140", 443, 80),
    authority("maatuska", "BD6A829255CB08E66FBE7D3748363586E46B3810", "171.25.193.9", 80, 443),
    authority("moria1", "1A25C6358DB91342AA51720A5038B72742732498", "128.31.0.39", 9201, 9231),
    authority("Serge", "BA44A889E64B93FAA2B114E02C2A279A8555C533", "66.111.2.131", 9001, 9030),
    authority("tor26", "FAA4BCA4A6AC0FB4CA2F8AD5A11D9E122BA894F6", "217.196.147.77", 443, 80),
];

/// The bridges.
pub const BRIDGES: [Bridge; 14] = [
    bridge(
        "193.11.166.194:27020",
        "86AC7B8D430DAC4117E9F42C9EAED18133863AAF",
        "0LDeJH4JzMDtkJJrFphJCiPqKx7loozKN7VNfuukMGfHO0Z8OGdzHVkhVAOfo1mUdv9cMg",
        "0",
    ),
    bridge(
        "192.95.36.142:443",
        "CDF2E852BF539B82BD10E27E9115A31734E378C2",
        "qUVQ0srL1JI/vO6V6m/24anYXiJD3QP2HgzUKQtQ7GRqqUvs7P+tG43RtAqdhLOALP7DJQ",
        "1",
    ),
    bridge(
        "146.57.248.225:22",
        "10A6CD36A537FCE513A322361547444B393989F0",
        "K1gDtDAIcUfeLqbstggjIw2rtgIKqdIhUlHp82XRqNSq/mtAjp1BIC9vHKJ2FAEpGssTPw",
        "0",
    ),
    bridge(
        "209.148.46.65:443",
        "74FAD13168806246602538555B5521A0383A1875",
        "ssH+9rP8dG2NLDN2XuFw63hIO/9MNNinLmxQDpVa+7kTOa9/m+tGWT1SmSYpQ9uTBGa6Hw",
        "0",
    ),
    bridge(
        "37.218.245.14:38224",
        "D9A82D2F9C2F65A18407B1D2B764F130847F8B5D",
        "bjRaMrr1BRiAW8IE9U5z27fQaYgOhX1UCmOpg2pFpoMvo6ZgQMzLsaTzzQNTlm7hNcb+Sg",
        "0",
    ),
    bridge(
        "193.11.166.194:27015",
        "2D82C2E354D531A68469ADF7F878FA6060C6BACA",
        "4TLQPJrTSaDffMK7Nbao6LC7G9OW/NHkUwIdjLSS3KYf0Nv4/nQiiI8dY2TcsQx01NniOg",
        "0",
    ),
    bridge(
        "51.222.13.177:80",
        "5EDAC3B810E12B01F6FD8050D2FD3E277B289A08",
        "2uplIpLQ0q9+0qMFrK5pkaYRDOe460LL9WHBvatgkuRr/SL31wBOEupaMMJ6koRE6Ld0ew",
        "0",
    ),
    bridge(
        "45.145.95.6:27015",
        "C5B7CD6946FF10C5B3E89691A7D3F2C122D2117C",
        "TD7PbUO0/0k6xYHMPW3vJxICfkMZNdkRrb63Zhl5j9dW3iRGiCx0A7mPhe5T2EDzQ35+Zw",
        "0",
    ),
    bridge(
        "38.229.1.78:80",
        "C8CBDB2464FC9804A69531437BCF2BE31FDD2EE4",
        "Hmyfd2ev46gGY7NoVxA9ngrPF2zCZtzskRTzoWXbxNkzeVnGFPWmrTtILRyqCTjHR+s9dg",
        "1",
    ),
    bridge(
        "38.229.33.83:80",
        "0BAC39417268B96B9F514E7F63FA6FBA1A788955",
        "VwEFpk9F/UN9JED7XpG1XOjm/O8ZCXK80oPecgWnNDZDv5pdkhq1OpbAH0wNqOT6H6BmRQ",
        "1",
    ),
    bridge(
        "193.11.166.194:27025",
        "1AE2C08904527FEA90C4C4F8C1083EA59FBC6FAF",
        "ItvYZzW5tn6v3G4UnQa6Qz04Npro6e81AP70YujmK/KXwDFPTs3aHXcHp4n8Vt6w/bv8cA",
        "0",
    ),
    bridge(
        "85.31.186.26:443",
        "91A6354697E6B02A386312F68D82CF86824D3606",
        "PBwr+S8JTVZo6MPdHnkTwXJPILWADLqfMGoVvhZClMq/Urndyd42BwX9YFJHZnBB3H0XCw",
        "0",
    ),
    bridge(
        "85.31.186.98:443",
        "011F2599C0E9B27EE74B353155E244813763C3E5",
        "ayq0XzCwhpdysn5o0EyDUbmSOx3X/oTEbzDMvczHOdBJKlvIdHHLJGkZARtT4dcBFArPPg",
        "0",
    ),
    bridge(
        "[2a0c:4d80:42:702::1]:27015",
        "C5B7CD6946FF10C5B3E89691A7D3F2C122D2117C",
        "TD7PbUO0/0k6xYHMPW3vJxICfkMZNdkRrb63Zhl5j9dW3iRGiCx0A7mPhe5T2EDzQ35+Zw",
        "0",
    ),
];
