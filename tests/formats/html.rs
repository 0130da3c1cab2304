//! The page in a real browser: no fault in its console, nothing from a network, the numbers of the report, legible on
//! a narrow screen, by keyboard, by a screen reader, in both schemes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use trueup::audit::{Remedy, Severity, Standing, WindowRow};
use trueup::drift::Cause;
use trueup::report::{ChangeOutcome, HostStatus, Report};
use trueup::timing::{Timeline, Words};

use super::written;
use crate::support::chromium::Chromium;
use crate::support::reports;

/// The page of a report, in a folder; in `$TRUEUP_KEEP` for one who wants to look at it.
fn page(folder: &Path, name: &str, report: &Report) -> PathBuf {
    let folder = std::env::var_os("TRUEUP_KEEP").map_or_else(|| folder.to_path_buf(), PathBuf::from);
    let path = folder.join(format!("{name}.html"));
    std::fs::write(&path, written("html", report)).unwrap();
    path
}

/// A run that changed something: what was before, and what is now.
fn remediated() -> Report {
    let mut report = reports::recorded("plan");
    "remediate".clone_into(&mut report.command);
    report.run = Some("20261122T114500Z".to_owned());
    report.seconds = Some(83.25);
    for host in report.hosts.values_mut() {
        host.status = HostStatus::Compliant;
        host.findings.clear();
        for task in &mut host.tasks {
            task.standing = Standing::Holds;
        }
        for change in &mut host.changes {
            change.outcome = ChangeOutcome::Changed;
        }
        host.windows_before = std::mem::replace(&mut host.windows, std::mem::take(&mut host.windows_after));
    }
    report.count();
    report
}

/// Everything on the page that counts something.
const COUNTED: &str = r#"(() => {
    const all = (words) => [...document.querySelectorAll(words)];
    const text = (item) => item.textContent.trim();
    return {
        tallies: Object.fromEntries(all("[data-of]").map((item) => [`${item.dataset.of}: ${item.dataset.label}`, Number(text(item))])),
        totals: Object.fromEntries(all("[data-total]").map((item) => [item.dataset.total, Number(text(item))])),
        findings: all("[data-finding]").length,
        differences: all("[data-difference]").length,
        causes: Object.fromEntries(all("[data-cause]").map((item) => [item.dataset.cause, item.querySelectorAll("[id^=difference-]").length])),
        waived: Number(document.querySelector("[data-waived]")?.textContent ?? 0),
        waivers: all('#waivers tbody tr').length,
        hosts: all("[data-host]").map((item) => item.dataset.host).sort(),
        lanes: all("[data-broker]").flatMap((figure) => [...figure.querySelectorAll("[data-when]")].map((lane) =>
            [figure.dataset.broker, lane.dataset.when, lane.querySelector("[role=img]").getAttribute("aria-label")])),
    };
})()"#;

/// What the page must count.
fn counted(report: &Report) -> Value {
    let all = || report.hosts.values().flat_map(|host| &host.findings);
    let findings = || all().filter(|finding| !finding.is_waived());
    let severity = |severity| findings().filter(|finding| finding.severity == severity).count();
    let remedy = |remedy| findings().filter(|finding| finding.remedy == remedy).count();
    let hosts = |status| report.hosts.values().filter(|host| host.status == status).count();
    let visible = |name: &String| name.chars().filter(|letter| !letter.is_control()).collect::<String>();
    let mut names: Vec<String> = report.hosts.keys().map(visible).collect();
    names.sort();
    let own = report.hosts.values().flat_map(|host| &host.drift);
    let mut causes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (_, one) in report.differences() {
        let told =
            causes.entry(CAUSES.iter().find(|(cause, ..)| *cause == one.cause).unwrap().1).or_default();
        told.insert(format!("{:?} {} {} {} {}", one.kind, one.subject, one.before, one.now, one.diff));
    }
    let causes: BTreeMap<&str, usize> = causes.iter().map(|(cause, told)| (*cause, told.len())).collect();
    let mut expected = json!({
        "tallies": {
            "hosts: compliant": hosts(HostStatus::Compliant),
            "hosts: with findings": hosts(HostStatus::Findings),
            "hosts: not reached": hosts(HostStatus::Unreachable),
            "hosts: failed": hosts(HostStatus::Failed),
            "severity: critical": severity(Severity::Critical),
            "severity: warning": severity(Severity::Warning),
            "severity: info": severity(Severity::Info),
            "remedy: for trueup remediate": remedy(Remedy::Automatic),
            "remedy: for a person": remedy(Remedy::Manual),
            "remedy: without need of action": remedy(Remedy::None),
        },
        "totals": {
            "hosts": report.summary.hosts,
            "severity": report.summary.findings,
            "remedy": report.summary.findings,
        },
        "findings": report.summary.findings + report.summary.waived,
        "differences": own.count(),
        "causes": causes,
        "waived": report.summary.waived,
        "waivers": report.waivers.len(),
        "hosts": names,
    });
    if report.drift.is_some() {
        expected["totals"]["cause"] = json!(report.summary.drift);
        for (cause, _, label) in CAUSES {
            let counting = report.differences().filter(|(_, one)| one.counts() && one.cause == cause);
            expected["tallies"][format!("cause: {label}")] = json!(counting.count());
        }
    }
    expected
}

/// Every cause, as programs know it, and in words.
const CAUSES: [(Cause, &str, &str); 5] = [
    (Cause::Host, "host", "someone on the host"),
    (Cause::Tool, "tool", "a tool"),
    (Cause::Policy, "policy", "our own policy"),
    (Cause::Unknown, "unknown", "not known"),
    (Cause::NeverConverged, "never_converged", "never converged"),
];

/// The words of the worst connection of each broker.
fn worst<'a>(rows: impl Iterator<Item = &'a WindowRow>) -> BTreeMap<&'a str, Words> {
    let mut worst: BTreeMap<&str, &WindowRow> = BTreeMap::new();
    let age = |row: &WindowRow| row.survivable_age.unwrap_or(f64::NEG_INFINITY);
    for row in rows {
        let known = worst.entry(&row.broker).or_insert(row);
        if age(row) < age(known) {
            *known = row;
        }
    }
    let words = |row: &WindowRow| {
        Timeline {
            broker_best: row.broker_best,
            broker_worst: row.broker_worst,
            client_worst: row.client_worst,
            rpc_response_timeout: row.rpc_response_timeout,
        }
        .words()
    };
    worst.into_iter().map(|(broker, row)| (broker, words(row))).collect()
}

/// Loads a page and counts.
fn check(browser: &mut Chromium, folder: &Path, name: &str, report: &Report) {
    let path = page(folder, name, report);
    browser.open(&path, 1280, "light");
    let mut found = browser.run(COUNTED);
    assert_eq!(browser.complaints(), [""; 0], "{name}");
    let lanes = found.as_object_mut().unwrap().remove("lanes").unwrap();
    assert_eq!(found, counted(report), "{name}");
    let windows = report.hosts.values().flat_map(|host| &host.windows);
    let brokers: BTreeSet<&str> = windows.map(|row| row.broker.as_str()).collect();
    let drawn: Vec<(&str, &str, &str)> = lanes
        .as_array()
        .unwrap()
        .iter()
        .map(|lane| (lane[0].as_str().unwrap(), lane[1].as_str().unwrap(), lane[2].as_str().unwrap()))
        .collect();
    let told: BTreeSet<&str> = drawn.iter().map(|(broker, _, _)| *broker).collect();
    assert_eq!(told, brokers, "{name}: a drawing for each broker");
}

#[test]
fn every_page_loads_without_a_fault_and_counts_what_the_report_counts() {
    let Some(mut browser) = Chromium::start("HTML reports in a browser") else { return };
    let folder = TempDir::new().unwrap();
    for (name, report) in reports::all() {
        check(&mut browser, folder.path(), name, &report);
    }
    check(&mut browser, folder.path(), "remediated", &remediated());
}

#[test]
fn a_drawing_says_what_was_is_and_would_be_in_the_numbers_of_the_report() {
    let Some(mut browser) = Chromium::start("timelines of HTML reports") else { return };
    let folder = TempDir::new().unwrap();
    let mut told = |name: &str, report: &Report| -> BTreeMap<(String, String), String> {
        let path = page(folder.path(), name, report);
        browser.open(&path, 1280, "light");
        let found = browser.run(COUNTED);
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        let lanes = found["lanes"].as_array().unwrap();
        lanes.iter().map(|lane| ((word(&lane[0]), word(&lane[1])), word(&lane[2]))).collect()
    };
    let plan = reports::recorded("plan");
    let rows = |part: fn(&trueup::report::HostReport) -> &Vec<WindowRow>| {
        plan.hosts.values().flat_map(part).collect::<Vec<_>>().into_iter()
    };
    let (now, then) = (worst(rows(|host| &host.windows)), worst(rows(|host| &host.windows_after)));
    for (report, stages) in [(&plan, ["now", "after"]), (&remediated(), ["before", "now"])] {
        let lanes = told("stages", report);
        assert_eq!(lanes.len(), 6);
        for (words, when) in [&now, &then].into_iter().zip(stages) {
            for (broker, words) in words {
                let label = &lanes[&((*broker).to_owned(), when.to_owned())];
                for part in [&words.client, &words.caller, &words.verdict] {
                    assert!(label.contains(part), "{broker} {when}: no `{part}` in `{label}`");
                }
            }
        }
    }
}

/// Text whose contrast is below what WCAG 2.2 (1.4.3, level AA) asks for.
const FAINT: &str = r#"(() => {
    const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => {
        const part = (value) => { value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = (item) => {
        for (let at = item; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = new Set();
    let seen = 0;
    while (walker.nextNode()) {
        const item = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !item.checkVisibility() || item.closest("script, style, .skip")) continue;
        const style = getComputedStyle(item);
        const ink = rgb(item instanceof SVGElement ? style.fill : style.color);
        const [high, low] = [light(ink), light(ground(item))].sort((a, b) => b - a);
        seen += 1;
        if ((high + 0.05) / (low + 0.05) < 4.5) faint.add(`${item.tagName}.${item.className}: ${ink} on ${ground(item)}`);
    }
    return { seen, faint: [...faint] };
})()"#;

#[test]
fn it_can_be_read_in_both_schemes_on_a_narrow_screen_and_on_paper() {
    let Some(mut browser) = Chromium::start("schemes, widths and print of HTML reports") else { return };
    let folder = TempDir::new().unwrap();
    for (name, report) in [
        ("plan", reports::recorded("plan")),
        ("waived", reports::waived()),
        ("nasty", reports::nasty()),
        ("three-hundred", reports::three_hundred()),
        ("drifted", reports::drifted()),
        ("nasty-drift", reports::nasty_drift()),
        ("three-hundred-drifted", reports::three_hundred_drifted()),
    ] {
        let path = page(folder.path(), name, &report);
        for (width, scheme) in [(1280, "light"), (360, "dark"), (320, "light")] {
            browser.open(&path, width, scheme);
            if !name.starts_with("three-hundred") {
                browser.run("document.querySelectorAll('details').forEach((item) => { item.open = true; })");
                let found = browser.run(FAINT);
                assert!(found["seen"].as_u64().unwrap() > 100, "{name}: {found}");
                assert_eq!(found["faint"], json!([]), "{name}, {scheme}");
            }
            let wide = browser.run("document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= width.into(), "{name} is {wide} wide on {width}");
            assert_eq!(browser.complaints(), [""; 0], "{name}");
        }
    }
    let path = page(folder.path(), "remediated", &remediated());
    browser.open(&path, 1280, "dark");
    let paper = browser.call("Page.printToPDF", &json!({}));
    assert!(paper["data"].as_str().unwrap().len() > 10_000);
}

#[test]
fn keyboard_and_screen_reader_find_their_way() {
    let Some(mut browser) = Chromium::start("accessibility of HTML reports") else { return };
    let folder = TempDir::new().unwrap();
    for (name, report, images) in
        [("accessible", reports::recorded("plan"), 6), ("accessible-drift", reports::drifted(), 3)]
    {
        let path = page(folder.path(), name, &report);
        browser.open(&path, 1280, "light");
        accessible(&mut browser, images);
    }
}

/// Roles, names, headings, links and focus of the page that is open.
fn accessible(browser: &mut Chromium, images: usize) {
    let tree = browser.call("Accessibility.getFullAXTree", &json!({}));
    let nodes: Vec<(&str, &str)> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| node["ignored"] == false)
        .map(|node| {
            (
                node["role"]["value"].as_str().unwrap_or_default(),
                node["name"]["value"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let with = |role: &str| nodes.iter().filter(|(known, _)| *known == role).count();
    for role in ["banner", "main", "navigation", "search", "contentinfo"] {
        assert_eq!(with(role), 1, "{role}");
    }
    assert!(with("heading") > 10 && with("image") == images && with("table") >= 1, "{nodes:?}");
    for (role, name) in &nodes {
        let named = [
            "button",
            "link",
            "textbox",
            "searchbox",
            "combobox",
            "image",
            "region",
            "heading",
            "navigation",
        ];
        assert!(!named.contains(role) || !name.is_empty(), "a {role} without a name");
    }
    let levels = browser
        .run("[...document.querySelectorAll('h1, h2, h3, h4')].map((item) => Number(item.tagName[1]))");
    let levels: Vec<u64> = levels.as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert!(levels[0] == 1 && levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    let twice = "[...document.querySelectorAll('[id]')].map((item) => item.id).filter((id, at, all) => all.indexOf(id) !== at)";
    assert_eq!(browser.run(twice), json!([]));
    let dead = "[...document.querySelectorAll('a[href^=\"#\"]')].map((item) => item.getAttribute('href').slice(1)).filter((id) => !document.getElementById(decodeURIComponent(id)))";
    assert_eq!(browser.run(dead), json!([]));

    let mut reached = BTreeSet::new();
    for _ in 0..30 {
        for kind in ["keyDown", "keyUp"] {
            browser.call(
                "Input.dispatchKeyEvent",
                &json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}),
            );
        }
        let at = browser.run(
            "(() => { const item = document.activeElement; const style = getComputedStyle(item);
                return [item.tagName, item.matches(':focus-visible') && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2]; })()",
        );
        assert_eq!(at[1], true, "no focus can be seen on {at}");
        reached.insert(at[0].as_str().unwrap().to_owned());
    }
    for tag in ["A", "BUTTON", "SUMMARY"] {
        assert!(reached.contains(tag), "{reached:?}");
    }
}

#[test]
fn three_hundred_hosts_are_one_page_that_can_be_searched() {
    let report = reports::three_hundred();
    let text = written("html", &report);
    assert!(text.len() < 6_000_000, "{} bytes", text.len());
    let Some(mut browser) = Chromium::start("searching HTML reports") else { return };
    let folder = TempDir::new().unwrap();
    let path = page(folder.path(), "three-hundred", &report);
    browser.open(&path, 1280, "light");
    let mut shown = |words: &str, status: &str| {
        let script = format!(
            "words.value = '{words}'; words.dispatchEvent(new Event('input'));
             status_ = document.getElementById('status'); status_.value = '{status}'; status_.dispatchEvent(new Event('change'));
             document.getElementById('shown').textContent"
        );
        browser.run(&script).as_str().unwrap().to_owned()
    };
    let all = format!("300 of 300 hosts, {} findings", report.summary.findings);
    assert_eq!(shown("", ""), all);
    assert_eq!(shown("node-007", ""), "1 of 300 hosts, 11 findings");
    assert_eq!(shown("", "not reached"), "4 of 300 hosts, 0 findings");
    assert_eq!(shown("keepalive_time 7200", ""), "3 of 300 hosts, 6 findings");
    assert_eq!(shown("no such thing", ""), "0 of 300 hosts, 0 findings");
    assert_eq!(shown("", ""), all);
    let report = reports::three_hundred_drifted();
    let path = page(folder.path(), "three-hundred-drifted", &report);
    browser.open(&path, 1280, "light");
    let own: usize = report.hosts.values().map(|host| host.drift.len()).sum();
    let mut shown = |words: &str| {
        let script = format!(
            "words.value = '{words}'; words.dispatchEvent(new Event('input')); document.getElementById('shown').textContent"
        );
        browser.run(&script).as_str().unwrap().to_owned()
    };
    let findings = report.summary.findings + report.summary.waived;
    assert_eq!(shown(""), format!("300 of 300 hosts, {own} differences, {findings} findings"));
    assert_eq!(
        shown("someone on the host tcp_keepalive_time"),
        "100 of 300 hosts, 100 differences, 0 findings"
    );
}

#[test]
fn the_policy_of_the_page_allows_its_own_script_alone() {
    use sha2::{Digest as _, Sha256};
    let text = written("html", &reports::recorded("compliant"));
    let script = text.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
    let digest = Sha256::digest(script.as_bytes());
    let allowed = format!("script-src 'sha256-{}'", base64(&digest));
    assert!(text.contains(&allowed), "the digest of page.js is now {allowed}");
    assert_eq!(text.matches("<script").count(), 1);
    for outside in ["http://", "https://", "//cdn", "@import", "src=\"", "url("] {
        let found: Vec<&str> = text.match_indices(outside).map(|(at, _)| &text[at..at + 20]).collect();
        assert!(found.iter().all(|part| part.starts_with("url(#")), "{found:?}");
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        (0..4)
            .map(|at| {
                if at > chunk.len() {
                    '='
                } else {
                    char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])
                }
            })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}
