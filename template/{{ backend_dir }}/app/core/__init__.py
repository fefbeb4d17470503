"""Modules that all other packages use. They do not depend on database, routes or services.

- The process: `settings`, `startup`, `logging`, `telemetry`, `http_protocol`, `shutdown`.
- Credentials: `security` (password hashes), `tokens`, `devices`.
- Normalization: `emails`, `addresses`, `origins`, `database_url`.
"""
