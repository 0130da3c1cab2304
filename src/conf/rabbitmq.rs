//! RabbitMQ's files.
