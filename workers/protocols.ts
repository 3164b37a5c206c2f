/** Protocol numbers as they stand in a slot's header; server/net/protocol-table.ts assigns them. */
export const PROTOCOL_NONE = 0;
export const PROTOCOL_DNS = 1;
/** A request of the DHT, for a lane. */
export const PROTOCOL_DHT = 2;
/** A reply to a request of our own, for the control plane. */
export const PROTOCOL_DHT_REPLY = 3;
