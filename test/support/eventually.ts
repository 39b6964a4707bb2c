/**
 * Waits until the claim holds, looking again every 20 ms. Throws with the last failure once the time is over: how long
 * a thing may take is a bound against hanging, not an assertion of speed.
 */
export async function eventually<T>(claim: () => T | Promise<T>, withinMs = 10_000): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    try {
      return await claim();
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
