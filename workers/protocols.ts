/** Protocol numbers as they stand in a slot's header; server/net/protocol-table.ts assigns them. */
export const PROTOCOL_NONE = 0;
export const PROTOCOL_DNS = 1;
