//! YAML 1.1 as Ansible reads it, with places.
