#!/bin/sh
[ "$1" = --list ] || exit 1
cat <<'E'
{"_meta": {"hostvars": {"s1": {"a": 1, "t": "{{ b }}"}, "unlisted": {"x": 1}}},
 "web": {"hosts": ["s1", "s2"], "vars": {"b": [1, {"c": null}]}},
 "db": ["s3"],
 "top": {"children": ["web", "db", "later"]},
 "later": {"hosts": []}}
E
