#!/bin/sh
# Stands for the dynamic inventory of a container deployment.
[ "$1" = --list ] || exit 1
cat <<'E'
{"_meta": {"hostvars": {
   "infra1": {"ansible_host": "172.29.236.11", "is_metal": true, "container_networks": {"management": {"address": "172.29.236.11", "netmask": "255.255.252.0"}}},
   "infra2": {"ansible_host": "172.29.236.12", "is_metal": true},
   "infra1-rabbit-mq-container-1f3a": {"ansible_host": "172.29.238.5", "physical_host": "infra1", "is_metal": false},
   "infra2-rabbit-mq-container-9c0d": {"ansible_host": "172.29.238.6", "physical_host": "infra2"},
   "infra1-cinder-api-container-77aa": {"ansible_host": "172.29.238.9", "physical_host": "infra1", "properties": {"service_name": "cinder"}}}},
 "hosts": {"children": ["infra_hosts"]},
 "infra_hosts": {"hosts": ["infra1", "infra2"]},
 "infra1_containers": {"hosts": ["infra1-rabbit-mq-container-1f3a", "infra1-cinder-api-container-77aa"]},
 "infra2_containers": {"hosts": ["infra2-rabbit-mq-container-9c0d"]},
 "all_containers": {"children": ["infra1_containers", "infra2_containers"]},
 "rabbit_mq_container": {"hosts": ["infra1-rabbit-mq-container-1f3a", "infra2-rabbit-mq-container-9c0d"]},
 "rabbitmq": {"children": [], "hosts": ["infra1-rabbit-mq-container-1f3a", "infra2-rabbit-mq-container-9c0d"]},
 "rabbitmq_all": {"children": ["rabbitmq"]},
 "cinder_api": {"hosts": ["infra1-cinder-api-container-77aa"]},
 "cinder_all": {"children": ["cinder_api"]}}
E
