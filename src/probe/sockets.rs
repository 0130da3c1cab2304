//! `ss -tnop`: sockets, their timers and owners.

use crate::facts::Socket;

/// The sockets of `ss -tnopH`; lines of another form (a heading of an old release) are left out.
pub(super) fn sockets(text: &str) -> Vec<Socket> {
    text.lines().filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace();
    let (_state, _received, sending) = (words.next()?, words.next()?, words.next()?);
    let (local, local_port) = endpoint(words.next()?)?;
    let (peer, peer_port) = endpoint(words.next()?)?;
    let mut timer = None;
    let mut pids = Vec::new();
    for word in words {
        if let Some(inner) = word.strip_prefix("timer:(").and_then(|word| word.strip_suffix(')')) {
            timer = Some(inner);
        }
        // users:(("cinder-volume",pid=963,fd=9)); a program's name may hold a blank.
        pids.extend(
            word.split("pid=").skip(1).filter_map(|rest| rest.split(',').next()?.parse::<u32>().ok()),
        );
    }
    pids.sort_unstable();
    pids.dedup();
    let mut parts = timer.into_iter().flat_map(|timer| timer.split(','));
    Some(Socket {
        local,
        local_port,
        peer,
        peer_port,
        pids,
        send_queue: sending.parse().ok()?,
        timer: parts.next().map(str::to_owned),
        fires_in_ms: parts.next().and_then(milliseconds),
    })
}

/// Address and port. An IPv4 address in IPv6 form (`[::ffff:10.0.0.1]`) is the IPv4 one; an interface
/// (`fe80::1%eth0`) is left out.
fn endpoint(text: &str) -> Option<(String, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    Some((plain_address(address), port.parse().ok()?))
}

/// An address as everything here compares it.
pub(super) fn plain_address(address: &str) -> String {
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let address = address.split('%').next().unwrap_or(address);
    address.strip_prefix("::ffff:").filter(|rest| rest.contains('.')).unwrap_or(address).to_owned()
}

/// A time as `ss` prints it (iproute2 misc/ss.c print_ms_timer): `119min`, `1min12sec`, `34sec`,
/// `8.516ms` (8 s 516 ms), `204ms`.
fn milliseconds(text: &str) -> Option<u64> {
    let (minutes, rest) = match text.split_once("min") {
        Some((minutes, rest)) => (minutes.parse::<u64>().ok()?, rest),
        None => (0, text),
    };
    let rest = if let Some(seconds) = rest.strip_suffix("sec") {
        seconds.parse::<u64>().ok()? * 1000
    } else if let Some(fraction) = rest.strip_suffix("ms") {
        match fraction.split_once('.') {
            Some((seconds, ms)) => seconds.parse::<u64>().ok()? * 1000 + ms.parse::<u64>().ok()?,
            None => fraction.parse().ok()?,
        }
    } else if rest.is_empty() {
        0
    } else {
        return None;
    };
    Some(minutes * 60_000 + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_ss_prints_them() {
        let check = |text, expected| assert_eq!(milliseconds(text), expected, "{text}");
        check("8.516ms", Some(8516));
        check("204ms", Some(204));
        check("34sec", Some(34_000));
        check("8sec", Some(8000));
        check("119min", Some(119 * 60_000));
        check("1min12sec", Some(72_000));
        check("1min", Some(60_000));
        check("", Some(0));
        check("soon", None);
        check("xsec", None);
    }

    #[test]
    fn owners_are_told() {
        let line =
            r#"ESTAB 0 0 [::1]:5672 [::1]:4 users:(("a b",pid=9,fd=1),("c",pid=7,fd=2),("c",pid=7,fd=3))"#;
        assert_eq!(socket(line).map(|socket| socket.pids), Some(vec![7, 9]));
    }

    #[test]
    fn lines_give_sockets() {
        let check = |line: &str, expected: Option<(&str, u16, &str, u16)>, timer: Option<(&str, u64)>| {
            let found = socket(line);
            let ends = found.as_ref().map(|s| (s.local.as_str(), s.local_port, s.peer.as_str(), s.peer_port));
            assert_eq!(ends, expected, "{line}");
            let found = found.as_ref().and_then(|s| Some((s.timer.as_deref()?, s.fires_in_ms?)));
            assert_eq!(found, timer, "{line}");
        };
        check(
            "ESTAB 0      0               10.77.0.11:38070          10.77.0.11:5672  timer:(keepalive,8.416ms,0)",
            Some(("10.77.0.11", 38070, "10.77.0.11", 5672)),
            Some(("keepalive", 8416)),
        );
        check(
            "ESTAB 0 13 [::ffff:10.77.0.11]:5672 [::ffff:10.77.0.13]:48948 timer:(on,204ms,3)",
            Some(("10.77.0.11", 5672, "10.77.0.13", 48948)),
            Some(("on", 204)),
        );
        check(
            r#"ESTAB 0 0 [::1]:5672 [::1]:4 users:(("a b",pid=9,fd=1),("c",pid=7,fd=2),("c",pid=7,fd=3)) timer:(keepalive,9sec,0)"#,
            Some(("::1", 5672, "::1", 4)),
            Some(("keepalive", 9000)),
        );
        check(
            "ESTAB 0 0 [fe80::1%eth0]:5672 [2001:db8::2]:4",
            Some(("fe80::1", 5672, "2001:db8::2", 4)),
            None,
        );
        check("State Recv-Q Send-Q Local Address:Port Peer Address:Port Process", None, None);
        check("", None, None);
        check("ESTAB 0 0 nonsense", None, None);
    }
}
