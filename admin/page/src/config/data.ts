// What the view of the configuration shows is asked for more often while it is open.

import { askConfig, askProxies } from "../live/config";
import { poll } from "../live/poll";

export const followView = () =>
  poll(1500, async () => {
    await Promise.all([askConfig(), askProxies()]);
  });
