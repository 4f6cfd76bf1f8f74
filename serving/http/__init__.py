"""The interface: routes, what they read and write, who may ask, and the connections that requests come by."""
