//! The configuration files of others: oslo.config, sysctl, RabbitMQ, and their secrets.
