//! Playbooks: what is accepted, and every mistake with the exact words about it.

use serde_json::json;

use super::{Bound, HostVars, Playbook, Source, Templates, Vars, explain, selected};
use crate::error::Result;
use crate::plan::rollout::Serial;

fn vars(value: &serde_json::Value) -> Vars {
    value.as_object().unwrap().clone().into_iter().collect()
}

/// Parses `text` and binds its plays for the host `ctl1`.
fn run(text: &str) -> Result<Vec<Bound>> {
    let inventory = vars(&json!({
        "region": "north",
        "unit": "cinder-volume",
        "password": "hunter2",
        "url": "amqp://{{ nowhere }}/",
        "circle": "{{ back }}",
        "back": "{{ circle }}",
    }));
    let extra = vars(&json!({ "extra": "e" }));
    let host = HostVars { name: "ctl1", inventory: &inventory, extra: &extra };
    let mut templates = Templates::default();
    for (name, text) in [
        ("good.j2", "region = {{ region }}\n{% if extra == 'e' %}\nextra\n{% endif %}\nlast\n"),
        ("bad.j2", "# a file\nregion = {{ regoin }}\n"),
        ("syntax.j2", "{% if region %}\nx\n"),
        ("includes.j2", "top\n{% include 'bad.j2' %}\n"),
    ] {
        let source = Source { path: format!("templates/{name}"), text: text.into() };
        templates.files.insert(name.to_owned(), source);
    }
    let playbook = Playbook::parse("play.yml", text)?;
    playbook.plays.iter().map(|play| playbook.bind(play, &host, &templates)).collect()
}

/// `mistakes.txt` holds a playbook and the error it gives, a block each.
#[test]
fn every_mistake_is_shown_with_its_place_and_what_to_do() {
    let modules: Vec<&str> = crate::modules::KINDS.iter().map(|kind| kind.name).collect();
    for block in include_str!("mistakes.txt").split("=== ").skip(1) {
        let (title, rest) = block.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---\n").unwrap();
        let error = run(text).expect_err(title).render(false);
        let expected = expected.replace("{MODULES}", &modules.join(", "));
        assert_eq!(error, expected.trim_end_matches('\n'), "{title}");
        assert!(!error.contains("hunter2"), "{title}");
    }
}

/// The ids and names that a play's tasks are bound to, then `-` and what is skipped.
fn check(tasks: &str, expected: &[&str]) {
    let text = format!("- hosts: all\n  vars: {{play: p, unit: from-play}}\n  tasks:\n{tasks}");
    let bound = run(&text).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let mut got: Vec<String> =
        bound[0].tasks.iter().map(|task| format!("{} {}", task.id, task.name)).collect();
    got.extend(bound[0].skipped.iter().map(|task| format!("-{}", task.id)));
    assert_eq!(got, expected, "{tasks}");
}

#[test]
fn tasks_are_bound_with_ansibles_loops_conditions_and_precedence() {
    let module = "service: {name: x, state: started}";
    check(&format!("    - {module}"), &["service service"]);
    check(&format!("    - {{name: It holds, {module}}}"), &["it-holds It holds"]);
    check(&format!("    - {{name: '{{{{ region }}}}', id: a, {module}}}"), &["a north"]);
    check(&format!("    - {{name: '{{{{ unit }}}}', id: a, {module}}}"), &["a from-play"]);
    check(&format!("    - {{name: '{{{{ unit }}}}', id: a, vars: {{unit: own}}, {module}}}"), &["a own"]);
    check(&format!("    - {{name: '{{{{ extra }}}}', id: a, vars: {{extra: own}}, {module}}}"), &["a e"]);
    check(
        &format!("    - {{name: 'u {{{{ item }}}}', id: a, loop: [x, Y z, 3], {module}}}"),
        &["a[x] u x", "a[y-z] u Y z", "a[3] u 3"],
    );
    check(
        &format!("    - {{name: n, id: a, loop: [x, X, {{k: v}}, ''], {module}}}"),
        &["a[x] n", "a[#2] n", "a[3] n", "a[4] n"],
    );
    check(
        &format!("    - {{name: n, id: a, loop: [1, 2, 3], when: item != 2, {module}}}"),
        &["a[1] n", "a[3] n", "-a[2]"],
    );
    check(
        &format!("    - {{name: '{{{{ s }}}}', id: a, loop: [1], loop_control: {{loop_var: s}}, {module}}}"),
        &["a[1] 1"],
    );
    check(
        &format!("    - {{name: '{{{{ item }}}}', id: a, loop: ['{{{{ region }}}}'], {module}}}"),
        &["a[north] north"],
    );
    check(&format!("    - {{id: a, loop: [], {module}}}"), &["-a"]);
    check(&format!("    - {{id: a, when: region == 'south', {module}}}"), &["-a"]);
    check(&format!("    - {{id: a, when: [true, region == 'south'], {module}}}"), &["-a"]);
    check(&format!("    - {{id: a, when: ['region == \"north\"', true], {module}}}"), &["a service"]);
    check(&format!("    - {{id: a, when: false, loop: '{{{{ nowhere }}}}', {module}}}"), &["-a"]);
    check("    - {id: a, when: false, service: {name: '{{ nowhere }}'}}", &["-a"]);
    check(
        "    - {id: a, template: {src: good.j2, dest: /etc/x, mode: '{{ nowhere | default(omit) }}'}}",
        &["a template"],
    );
    check("    - {id: a, ansible.builtin.command: 'true'}", &["a ansible.builtin.command"]);
}

#[test]
fn a_template_file_is_rendered_as_ansibles_template_module_does() {
    let bound = run("- {hosts: all, tasks: [{template: {src: good.j2, dest: /etc/x}}]}").unwrap();
    let module = format!("{:?}", bound[0].tasks[0].module);
    assert!(module.contains(r"region = north\nextra\nlast\n"), "{module}");
}

#[test]
fn commands_round_a_batch_keep_their_words() {
    let bound = run(
        "- hosts: all\n  pre_tasks:\n    - {id: out, command: \"haproxyctl disable '{{ region }} 1'\", tags: a}\n  \
         post_tasks:\n    - {id: in, command: {argv: [echo, 1, '{{ region }}']}, loop: [x], when: item == 'x'}\n",
    )
    .unwrap();
    let [bound] = bound.as_slice() else { panic!("one play") };
    assert_eq!(
        (bound.pre_tasks[0].id.as_str(), bound.pre_tasks[0].tags.as_slice()),
        ("out", &["a".to_owned()][..])
    );
    assert_eq!(bound.pre_tasks[0].argv, ["haproxyctl", "disable", "north 1"]);
    assert_eq!(bound.post_tasks[0].id, "in[x]");
    assert_eq!(bound.post_tasks[0].argv, ["echo", "1", "north"]);
}

#[test]
fn a_plays_keywords_are_read() {
    let playbook = Playbook::parse(
        "play.yml",
        "- name: First\n  hosts: [a, 'b:!c']\n  become: 'yes'\n  serial: [1, '30%']\n  max_fail_percentage: 20%\n  \
         any_errors_fatal: true\n  gather_facts: false\n  tags: 'x, y'\n  tasks:\n    \
         - {command: 'true', tags: [y, z]}\n  vars: {a: 1, a: 2}\n- {hosts: all, serial: 2, tasks: null}\n",
    )
    .unwrap();
    let [first, second] = playbook.plays.as_slice() else { panic!("two plays") };
    assert_eq!((first.name.as_str(), first.hosts.as_str()), ("First", "a,b:!c"));
    assert_eq!((first.r#become, first.any_errors_fatal), (Some(true), true));
    assert_eq!(first.serial, [Serial::Count(1), Serial::Percent(30)]);
    assert_eq!(first.max_fail_percentage, Some(20.0));
    assert_eq!(first.tasks[0].tags, ["x", "y", "z"]);
    assert_eq!(
        (second.name.as_str(), second.r#become, second.serial.as_slice()),
        ("all", None, &[Serial::Count(2)][..])
    );
    let warnings: Vec<String> = playbook.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["duplicate key `a`", "`gather_facts` has no effect"]);
}

#[test]
fn tags_select_as_in_ansible() {
    let check = |tags: &[&str], only: &[&str], skip: &[&str], expected: bool| {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(selected(&own(tags), &own(only), &own(skip)), expected, "{tags:?} {only:?} {skip:?}");
    };
    check(&[], &[], &[], true);
    check(&["a"], &[], &[], true);
    check(&["a"], &["a"], &[], true);
    check(&["a"], &["b"], &[], false);
    check(&[], &["a"], &[], false);
    check(&["a"], &[], &["a"], false);
    check(&["a"], &["a"], &["a"], false);
    check(&["always"], &["b"], &[], true);
    check(&["always"], &[], &["always"], false);
    check(&["always"], &[], &["all"], true);
    check(&["always"], &[], &["all", "always"], false);
    check(&["never"], &[], &[], false);
    check(&["never"], &["never"], &[], true);
    check(&["never", "a"], &["a"], &[], true);
    check(&["never", "a"], &["all"], &[], false);
    check(&["never", "a"], &["tagged"], &[], false);
    check(&["a"], &["all"], &[], true);
    check(&["a"], &["tagged"], &[], true);
    check(&[], &["tagged"], &[], false);
    check(&[], &["untagged"], &[], true);
    check(&["a"], &["untagged"], &[], false);
    check(&["a"], &[], &["tagged"], false);
    check(&[], &[], &["untagged"], false);
    check(&["a"], &[], &["all"], false);
}

#[test]
fn explain_says_what_a_task_is_for() {
    let playbook = Playbook::parse(
        "play.yml",
        "- hosts: all\n  tasks:\n    - name: A is up\n      id: a\n      service: {name: '{{ u }}', enabled: true}\n      \
         when: [u is defined, true]\n      severity: critical\n      why: It must be.\n      \
         references: https://example.org/\n      tags: [x, y]\n",
    )
    .unwrap();
    assert_eq!(
        explain(&playbook.plays[0].tasks[0], None, 80),
        "a: A is up\n\n\
         It must be.\n\n\
         Severity   critical: calls are lost when a connection dies\n\
         Module     service: a unit is enabled and running\n           \
         name: {{ u }}\n           enabled: true\n\
         When       u is defined\nWhen       true\n\
         Tags       x, y\n\
         Written    play.yml:3:7\n\n\
         Sources:\n  https://example.org/\n"
    );
}

#[test]
fn connection_variables_are_rendered_and_never_shown() {
    let play = &Playbook::parse("play.yml", "- {hosts: all, vars: {net: 10.0.0}}").unwrap().plays[0];
    let check = |value: &str, expected: std::result::Result<&str, &str>| {
        let inventory =
            vars(&json!({ "ansible_password": value, "other": "{{ nowhere }}", "inner": "{{ nope }}" }));
        let extra = vars(&json!({ "ansible_port": "{{ 20 + 2 }}" }));
        let host = HostVars { name: "ctl1", inventory: &inventory, extra: &extra };
        match (play.connection_vars(&host, &Templates::default()), expected) {
            (Ok(rendered), Ok(expected)) => {
                assert_eq!(rendered, vars(&json!({ "ansible_password": expected, "ansible_port": 22 })));
            }
            (got, expected) => {
                let error = got.unwrap_err();
                assert_eq!(Err(error.render(false).as_str()), expected);
            }
        }
    };
    check("{{ net }}.1", Ok("10.0.0.1"));
    check("se{cr}et", Ok("se{cr}et"));
    let used = "hint: it is used by the variable `ansible_password` of host `ctl1`";
    check(
        "s3{{cret",
        Err(&format!("error: template: unexpected end of input, expected end of variable block\n{used}")),
    );
    check(
        "s3{{ nah }}",
        Err(&format!(
            "error: `nah` is undefined for host `ctl1`\nhint: set it under `vars`, in the inventory, or with `-e nah=…`\n{used}"
        )),
    );
    check(
        "s3{{ 'a' + 1 }}",
        Err(&format!(
            "error: template: tried to use + operator on unsupported types string and number\n{used}"
        )),
    );
    check(
        "{{ inner }}",
        Err(
            "error: `nope` is undefined for host `ctl1`\nhint: set it under `vars`, in the inventory, or with `-e nope=…`\n\
         hint: it is used by the variable `inner` of host `ctl1`",
        ),
    );
}
