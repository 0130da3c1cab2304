//! Which host of the run an address in a `transport_url` is.

use super::Cluster;
use super::connections::plain_address;
use crate::facts::Facts;

/// The host of the run that `address`, a name or an IP address, means on the host with `facts`.
///
/// Names are compared with inventory names and the hosts' own names, fully qualified or not; addresses by
/// `/etc/hosts` of the host that uses them, and by the ends of live AMQP sockets.
pub fn host<'a>(cluster: &'a Cluster, facts: &Facts, address: &str) -> Option<&'a str> {
    let address = plain_address(address);
    if matches!(address, "localhost" | "127.0.0.1" | "::1") {
        return cluster.get_key_value(&facts.host).map(|(host, _)| host.as_str());
    }
    let names = names_of(facts, address);
    by_name(cluster, address)
        .or_else(|| names.iter().find_map(|name| by_name(cluster, name)))
        .or_else(|| by_socket(cluster, address))
        .or_else(|| addresses_of(facts, address).iter().find_map(|address| by_socket(cluster, address)))
}

fn by_name<'a>(cluster: &'a Cluster, name: &str) -> Option<&'a str> {
    let is = |host: &str, known: &str| host == known || first_label(host) == first_label(known);
    // Of an address the first number is no name.
    let literal = name.contains(':') || name.chars().all(|c| c == '.' || c.is_ascii_digit());
    let known = |host: &str, hostname: Option<&str>| {
        host == name || (!literal && (is(name, host) || hostname.is_some_and(|hostname| is(name, hostname))))
    };
    let hostname = |facts: &'a Result<Facts, crate::error::HostError>| {
        facts.as_ref().ok().map(|it| it.hostname.as_str())
    };
    let exact = cluster.keys().find(|host| *host == name);
    exact
        .or_else(|| cluster.iter().find(|(host, facts)| known(host, hostname(facts))).map(|(host, _)| host))
        .map(String::as_str)
}

/// `ctl1` of `ctl1.internalapi.example.com`.
fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// The names that `/etc/hosts` gives an address.
fn names_of(facts: &Facts, address: &str) -> Vec<String> {
    let matching =
        lines(facts).filter(|words| words.first().is_some_and(|first| plain_address(first) == address));
    matching.flat_map(|words| words.into_iter().skip(1)).collect()
}

/// The addresses that `/etc/hosts` gives a name.
fn addresses_of(facts: &Facts, name: &str) -> Vec<String> {
    let matching = lines(facts).filter(|words| words.iter().skip(1).any(|word| word == name));
    matching.filter_map(|words| words.into_iter().next()).collect()
}

fn lines(facts: &Facts) -> impl Iterator<Item = Vec<String>> {
    let text = facts.files.get("/etc/hosts").and_then(|file| file.known()).map(|file| file.content.clone());
    let words = |line: &str| -> Vec<String> {
        let plain = line.split('#').next().unwrap_or_default();
        plain.split_whitespace().map(str::to_owned).collect()
    };
    text.unwrap_or_default().lines().map(words).collect::<Vec<_>>().into_iter()
}

/// The broker's host whose AMQP sockets have this local address.
fn by_socket<'a>(cluster: &'a Cluster, address: &str) -> Option<&'a str> {
    cluster.iter().find_map(|(host, facts)| {
        let facts = facts.as_ref().ok()?;
        let sockets = facts.sockets.known()?;
        sockets.iter().any(|socket| plain_address(&socket.local) == address).then_some(host.as_str())
    })
}
