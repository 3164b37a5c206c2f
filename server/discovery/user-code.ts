/**
 * Calls code of the program: callbacks and listeners. What it throws ends the program as it would
 * have, but not before the client's own work is done, which would be left half done.
 */
export function callUser(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
