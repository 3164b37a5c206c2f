/** The bootstrap nodes of the public hyperdht network, as npm hyperdht 6.34.0 names them. */
export const PUBLIC_BOOTSTRAP: readonly string[] = [
  '88.99.3.86@node1.hyperdht.org:49737',
  '142.93.90.113@node2.hyperdht.org:49737',
  '138.68.147.8@node3.hyperdht.org:49737',
];
