"""What every other package uses. Nothing here knows the database, HTTP routes or services.

- The process: `settings`, `startup`, `logging`, `telemetry`, `http_protocol`, `shutdown`.
- Credentials: `security` (password hashes), `tokens`, `devices`.
- Normal forms: `emails`, `addresses`, `origins`, `database_url`.
"""
