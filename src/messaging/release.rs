//! Versions of oslo.messaging and the OpenStack releases they belong to.

use std::fmt;

use serde::Deserialize;

/// A version, compared by its first three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Release {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Release {
    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `14.0.3`, also with what distributions add (`1:14.0.3-2`, `14.0.3.dev5`, `14.0.3+deb12u1`);
    /// `None` where it does not start with a number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(':').map_or(text, |(_, rest)| rest).trim();
        let mut numbers = text.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            (part[..digits].parse::<u32>().ok(), digits == part.len())
        });
        let (major, mut whole) = numbers.next()?;
        let mut next = || {
            // What follows a part such as `3-2` or `dev5` is none of the version.
            let (number, complete) = if whole { numbers.next()? } else { return None };
            whole = complete;
            number
        };
        Some(Self { major: major?, minor: next().unwrap_or(0), patch: next().unwrap_or(0) })
    }

    /// The OpenStack release that shipped this version of oslo.messaging; `None` before Kilo.
    pub fn series(&self) -> Option<&'static Series> {
        RELEASES.iter().rev().find(|series| series.from <= *self)
    }

    /// `Zed`, `2024.1`.
    pub fn name(&self) -> Option<&'static str> {
        self.series().map(|series| series.name)
    }
}

impl TryFrom<String> for Release {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a version"))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// An OpenStack release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// `Zed`, `2024.1`.
    pub name: &'static str,
    /// Its first oslo.messaging.
    pub from: Release,
    /// The py-amqp its upper constraints pin. Distributions may ship another.
    pub amqp: Release,
}

const fn series(name: &'static str, from: Release, amqp: Release) -> Series {
    Series { name, from, amqp }
}

/// Every release since Kilo, oldest first (openstack/releases, openstack/requirements).
pub const RELEASES: &[Series] = &[
    series("Kilo", Release::new(1, 5, 0), Release::new(1, 4, 0)),
    series("Liberty", Release::new(1, 9, 0), Release::new(1, 4, 0)),
    series("Mitaka", Release::new(2, 6, 0), Release::new(1, 4, 9)),
    series("Newton", Release::new(5, 0, 0), Release::new(1, 4, 9)),
    series("Ocata", Release::new(5, 11, 0), Release::new(1, 4, 9)),
    series("Pike", Release::new(5, 18, 0), Release::new(2, 2, 1)),
    series("Queens", Release::new(5, 31, 0), Release::new(2, 3, 2)),
    series("Rocky", Release::new(5, 36, 0), Release::new(2, 3, 2)),
    series("Stein", Release::new(9, 0, 0), Release::new(2, 4, 2)),
    series("Train", Release::new(9, 6, 0), Release::new(2, 5, 2)),
    series("Ussuri", Release::new(10, 3, 0), Release::new(2, 5, 2)),
    series("Victoria", Release::new(12, 2, 0), Release::new(5, 0, 1)),
    series("Wallaby", Release::new(12, 6, 0), Release::new(5, 0, 8)),
    series("Xena", Release::new(12, 8, 0), Release::new(5, 0, 8)),
    series("Yoga", Release::new(12, 10, 0), Release::new(5, 0, 9)),
    series("Zed", Release::new(12, 14, 0), Release::new(5, 1, 1)),
    series("2023.1", Release::new(14, 1, 0), Release::new(5, 1, 1)),
    series("2023.2", Release::new(14, 3, 0), Release::new(5, 1, 1)),
    series("2024.1", Release::new(14, 5, 0), Release::new(5, 2, 0)),
    series("2024.2", Release::new(14, 8, 0), Release::new(5, 2, 0)),
    series("2025.1", Release::new(15, 0, 0), Release::new(5, 3, 1)),
    series("2025.2", Release::new(17, 0, 0), Release::new(5, 3, 1)),
    series("2026.1", Release::new(17, 2, 0), Release::new(5, 3, 1)),
    series("2026.2", Release::new(18, 0, 0), Release::new(5, 3, 1)),
];
