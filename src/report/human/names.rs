//! Names of hosts: all of a few, ranges of many.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// So many are written out.
const WRITTEN_OUT: usize = 3;

/// So many ranges or single names are shown; the rest is counted.
const SHOWN: usize = 5;

/// Names of hosts in one line: `ctl1, ctl2, ctl3`; of more than three, runs as `ctl[1-40,42]`, and what is too
/// much for a line as a number.
pub fn names(hosts: &[&str]) -> String {
    if hosts.len() <= WRITTEN_OUT {
        return hosts.join(", ");
    }
    let mut families: BTreeMap<Family<'_>, Vec<(u64, &str)>> = BTreeMap::new();
    let mut order = Vec::new();
    // `c09` and `c10` are one family of two digits, `c9` and `c10` are one of as many as it takes.
    let padded: BTreeSet<Family<'_>> = hosts
        .iter()
        .map(|host| (host, family(host).0))
        .filter(|(host, family)| family.digits > 1 && host[family.before.len()..].starts_with('0'))
        .map(|(_, family)| family)
        .collect();
    for host in hosts {
        let (mut family, number) = family(host);
        if !padded.contains(&family) {
            family.digits = 0;
        }
        let members = families.entry(family).or_insert_with(|| {
            order.push(family);
            Vec::new()
        });
        members.push((number, host));
    }
    let mut shown = Vec::new();
    let mut left = 0;
    let mut room = SHOWN;
    for family in order {
        let members = families.get_mut(&family).expect("every family in the order has members");
        members.sort_unstable();
        members.dedup();
        if room == 0 {
            left += members.len();
        } else if let [(_, only)] = members.as_slice() {
            shown.push((*only).to_owned());
            room -= 1;
        } else {
            let runs = runs(members, family.digits);
            let taken = runs.len().min(room);
            room -= taken;
            left += runs[taken..].iter().map(|run| run.members).sum::<usize>();
            let texts: Vec<String> = runs[..taken].iter().map(|run| run.text.clone()).collect();
            shown.push(format!("{}[{}]{}", family.before, texts.join(","), family.after));
        }
    }
    let shown = shown.join(", ");
    if left > 0 { format!("{shown} and {left} more") } else { shown }
}

/// Names that differ in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Family<'a> {
    before: &'a str,
    after: &'a str,
    /// Digits of the number, where it may begin with zeros; else 0.
    digits: usize,
}

/// The last number of a name's first label, or of an address; a name without one is a family of its own.
fn family(host: &str) -> (Family<'_>, u64) {
    let end =
        if host.parse::<Ipv4Addr>().is_ok() { host.len() } else { host.find('.').unwrap_or(host.len()) };
    let label = &host[..end];
    let alone = (Family { before: host, after: "", digits: 0 }, 0);
    let Some(last) = label.rfind(|letter: char| letter.is_ascii_digit()) else { return alone };
    let before = label[..=last].trim_end_matches(|letter: char| letter.is_ascii_digit());
    let digits = &host[before.len()..=last];
    let Ok(number) = digits.parse() else { return alone };
    (Family { before, after: &host[last + 1..], digits: digits.len() }, number)
}

/// Numbers that follow one another.
struct Run {
    text: String,
    members: usize,
}

fn runs(members: &[(u64, &str)], digits: usize) -> Vec<Run> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (number, _) in members {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let written = |number: u64| format!("{number:0digits$}");
    let text = |(first, last): (u64, u64)| {
        if first == last { written(first) } else { format!("{}-{}", written(first), written(last)) }
    };
    let size = |(first, last): (u64, u64)| usize::try_from(last - first + 1).unwrap_or(usize::MAX);
    runs.into_iter().map(|run| Run { text: text(run), members: size(run) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_names_are_written_out_and_many_are_ranges() {
        let check = |hosts: &str, expected: &str| {
            let hosts: Vec<&str> = hosts.split_whitespace().collect();
            assert_eq!(names(&hosts), expected);
        };
        check("", "");
        check("ctl1 ctl2 ctl3", "ctl1, ctl2, ctl3");
        check("ctl1 ctl2 ctl3 ctl5", "ctl[1-3,5]");
        check("ctl1 ctl2 ctl3 db", "ctl[1-3], db");
        check("a b c d", "a, b, c, d");
        check("a b c d e f g", "a, b, c, d, e and 2 more");
        check("c01 c02 c03 c10", "c[01-03,10]");
        check("n-1.x.net n-2.x.net n-3.x.net n-4.x.net", "n-[1-4].x.net");
        check("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4", "10.0.0.[1-4]");
        check("h1 h3 h5 h7 h9 h11x h13x", "h[1,3,5,7,9] and 2 more");
        check("h1 h3 h5 h7 h9 h2 h20", "h[1-3,5,7,9,20]");
    }

    #[test]
    fn three_hundred_names_are_one_line() {
        let hosts: Vec<String> = (1..=300).map(|number| format!("ctl{number}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert_eq!(names(&hosts), "ctl[1-300]");
    }
}
