"""Pure ASGI middleware, from the outside in: context, (CORS), errors, body limit, cross-site."""
