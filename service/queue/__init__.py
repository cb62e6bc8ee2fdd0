"""The queue room: all of Redis lives here. It carries opaque payloads and knows neither torch nor HTTP."""
