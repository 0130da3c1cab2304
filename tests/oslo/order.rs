//! Which files a process reads.

use std::collections::BTreeSet;

use trueup::conf::oslo::{Flag, Search, flags, order};

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// `command` run as cinder-volume of cinder, where `existing` are the paths on its host.
#[track_caller]
fn check(command: &str, existing: &[&str], expected: &[&str]) {
    let search = Search {
        project: Some("cinder".into()),
        prog: "cinder-volume".into(),
        home: Some("/var/lib/cinder".into()),
        cwd: Some("/srv".into()),
        ..Search::default()
    };
    let existing: BTreeSet<String> = existing.iter().map(|path| (*path).to_owned()).collect();
    let found = order(&flags(&words(command)), &search, &existing);
    let missing = found.missing.iter().map(|path| format!("missing {path}"));
    assert_eq!(found.files.iter().cloned().chain(missing).collect::<Vec<_>>(), expected, "{command}");
}

#[test]
fn default_files_are_the_first_of_each_name() {
    let etc = ["/etc/cinder/cinder.conf", "/etc/cinder/cinder-volume.conf"];
    check("cinder-volume", &etc, &etc);
    check(
        "cinder-volume",
        &["/etc/cinder-volume.conf", "/etc/cinder.conf"],
        &["/etc/cinder.conf", "/etc/cinder-volume.conf"],
    );
    check(
        "cinder-volume",
        &[
            "/etc/cinder/cinder.conf",
            "/var/lib/cinder/.cinder/cinder.conf",
            "/var/lib/cinder/cinder-volume.conf",
        ],
        &["/var/lib/cinder/.cinder/cinder.conf", "/var/lib/cinder/cinder-volume.conf"],
    );
    check("cinder-volume", &[], &[]);
}

#[test]
fn default_drop_ins_come_after_default_files_in_byte_order() {
    check(
        "cinder-volume",
        &[
            "/etc/cinder/cinder.conf",
            "/etc/cinder/cinder.conf.d/9.conf",
            "/etc/cinder/cinder.conf.d/10.conf",
            "/etc/cinder/cinder.conf.d/.hidden.conf",
            "/etc/cinder/cinder.conf.d/x.conf.bak",
            "/etc/cinder/cinder.conf.d/sub/y.conf",
            "/etc/cinder/cinder-volume.conf.d/a.conf",
        ],
        &[
            "/etc/cinder/cinder.conf",
            "/etc/cinder/cinder.conf.d/10.conf",
            "/etc/cinder/cinder.conf.d/9.conf",
            "/etc/cinder/cinder-volume.conf.d/a.conf",
        ],
    );
}

#[test]
fn the_first_folder_hides_the_others_even_when_empty() {
    check("x", &["/var/lib/cinder/cinder.conf.d", "/etc/cinder/cinder.conf.d/a.conf"], &[]);
}

#[test]
fn a_named_file_is_read_after_the_default_drop_ins() {
    check(
        "cinder-volume --config-file /etc/cinder/cinder.conf",
        &["/etc/cinder/cinder.conf", "/etc/cinder/cinder.conf.d/a.conf"],
        &["/etc/cinder/cinder.conf.d/a.conf", "/etc/cinder/cinder.conf"],
    );
}

#[test]
fn named_files_and_folders_are_read_in_the_order_of_the_command_line() {
    let existing = ["/a.conf", "/d/1.conf", "/d/2.conf", "/b.conf", "/etc/cinder/cinder.conf"];
    check(
        "x --config-file=/a.conf --config-dir /d --config-file /b.conf",
        &existing,
        &["/a.conf", "/d/1.conf", "/d/2.conf", "/b.conf"],
    );
    check("x --config-dir=/d --config-file /a.conf", &existing, &["/d/1.conf", "/d/2.conf", "/a.conf"]);
    check("x --config-dir /d", &existing, &["/etc/cinder/cinder.conf", "/d/1.conf", "/d/2.conf"]);
    check("x --config-file /a.conf --config-file /a.conf", &existing, &["/a.conf", "/a.conf"]);
}

#[test]
fn what_is_named_and_absent_is_missing() {
    check("x --config-file /no.conf --config-dir /no", &[], &["missing /no.conf", "missing /no"]);
}

#[test]
fn paths_are_made_absolute() {
    let existing = ["/srv/a.conf", "/var/lib/cinder/b.conf"];
    check(
        "x --config-file ./x/../a.conf --config-file ~/b.conf",
        &existing,
        &["/srv/a.conf", "/var/lib/cinder/b.conf"],
    );
}

#[test]
fn other_words_are_no_flags() {
    assert_eq!(flags(&words("x --debug --config-files y --config-file z")), [Flag::File("z".into())]);
    assert_eq!(flags(&words("x --config-file")), []);
    assert_eq!(flags(&words("x -- --config-file z")), []);
}
