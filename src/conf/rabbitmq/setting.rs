//! One key of rabbitmq.conf, whatever file or format decides it.

use super::advanced::Term;
use super::{Answer, Files, Known, Listen, Paths, Read, Source, term_text};

/// What the node makes of `key` of rabbitmq.conf, as text. `None`: nothing sets it, or a list without it
/// took the place of the default; the source tells which.
///
/// # Errors
/// Why it is not known: a file that cannot be read, or Erlang terms in place of the key whose meaning
/// only the node's own schema tells.
pub fn setting(paths: &Paths, files: &Files<'_>, key: &str) -> Known<Option<String>> {
    let read = Read { settings: paths.settings(files)?, terms: paths.terms(files)? };
    let text =
        |known: Known<String>| known.map(|Answer { value, source }| Answer { value: Some(value), source });
    if let Some(option) = key.strip_prefix("tcp_listen_options.") {
        return listen_option(&read, key, option);
    }
    match key {
        "heartbeat" => {
            let Answer { value, source } = read.heartbeat()?;
            return Ok(Answer { value: Some(value.to_string()), source });
        }
        "cluster_partition_handling" => return text(read.text(key, &[], "ignore")),
        _ => {}
    }
    for (family, default) in [("vm_memory_high_watermark", "0.6"), ("disk_free_limit", "50000000")] {
        if [family.to_owned(), format!("{family}.relative"), format!("{family}.absolute")]
            .iter()
            .any(|name| name == key)
        {
            return text(read.text(family, &[".relative", ".absolute"], default));
        }
    }
    let first = key.split('.').next().unwrap_or(key);
    if let Some((path, node)) = read.advanced(first) {
        let source = Read::source(path, node.line);
        let value = term_text(&node.term).filter(|_| first == key);
        return match value {
            Some(value) => Ok(Answer { value: Some(value), source }),
            None => Err(format!("`{first}` at {source} overrules `{key}`, in Erlang terms of no known form")),
        };
    }
    Ok(match read.settings.get(key) {
        Some((path, setting)) => {
            Answer { value: Some(setting.value.clone()), source: Read::source(path, setting.line) }
        }
        None => Answer { value: None, source: Source::Default },
    })
}

fn listen_option(read: &Read, key: &str, option: &str) -> Known<Option<String>> {
    let listen = Listen::read(read)?;
    let in_terms = read.advanced("tcp_listen_options");
    if let Some((path, setting)) = read.settings.get(key).filter(|_| in_terms.is_none()) {
        let source = Read::source(path, setting.line);
        return Ok(Answer { value: Some(setting.value.clone()), source });
    }
    Ok(match option {
        "keepalive" => show(&listen.keepalive, |on| on.to_string()),
        "nodelay" => show(&listen.nodelay, |on| on.to_string()),
        "exit_on_close" => show(&listen.exit_on_close, |on| on.to_string()),
        "backlog" => show(&listen.backlog, |length| length.to_string()),
        "linger.on" => show(&listen.linger, |(on, _)| on.to_string()),
        "linger.timeout" => show(&listen.linger, |(_, seconds)| seconds.to_string()),
        // Any other option of the list in terms: a number or a flag, as rabbitmq.conf has it.
        _ => {
            let list = in_terms.and_then(|(path, node)| Some((path, node.list()?)));
            let found = list.and_then(|(path, nodes)| {
                nodes.iter().rev().find_map(|node| Some((path, node, node.tagged(option)?.first()?)))
            });
            match found {
                None => Answer { value: None, source: listen.source },
                Some((path, node, value)) => {
                    let source = Read::source(path, node.line);
                    match &value.term {
                        Term::Int(_) | Term::Atom(_) => Answer { value: term_text(&value.term), source },
                        _ => return Err(format!("`{option}` at {source} is of no known form")),
                    }
                }
            }
        }
    })
}

fn show<T: Copy>(answer: &Answer<Option<T>>, text: impl Fn(T) -> String) -> Answer<Option<String>> {
    Answer { value: answer.value.map(text), source: answer.source.clone() }
}
