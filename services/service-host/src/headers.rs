//! Headers of the mesh's own on calls. Only [`KEY`] may come from a client; the gateway removes the others from what
//! clients send, so that an owner can trust them.

/// The routing key, as text, when a client wants to spare the gateway the look into the message. It must be the key that
/// stands in the message, if one stands there.
pub const KEY: &str = "x-ordermesh-key";

/// The key to use when the message has none: made by the gateway, or the client's [`KEY`] on methods that make keys.
/// It comes with a key that is not checked yet, exactly like one in a message.
pub const GENERATED_KEY: &str = "x-ordermesh-generated-key";

/// On lists: the decimal number of the one partition that this call asks.
pub const PARTITION: &str = "x-ordermesh-partition";

/// The secret that all instances of a mesh share, on calls between them. Never on a call that a client sent.
pub const PEER_SECRET: &str = "x-ordermesh-peer-secret";
