//! How many requests run at once, and which Pod gets the next: the activator and queue-proxy cores.
