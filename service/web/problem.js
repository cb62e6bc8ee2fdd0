// Whatever goes wrong is said on the page, once, in words.

import { ApiError } from "./api.js";
import { byId, element, show } from "./dom.js";

export async function guarded(action) {
  try {
    return await action();
  } catch (error) {
    if (error.name !== "AbortError") say(error);
    return undefined;
  }
}

function say(error) {
  if (!(error instanceof ApiError)) console.error(error);
  const known = error instanceof ApiError ? error : new ApiError("Something went wrong on this page", error.message);
  const fields = element("ul");
  fields.append(...known.fields.map(({ field, detail }) => element("li", `${field}: ${detail}`)));
  const text = known.fields.length ? [fields] : [element("p", known.message)];
  byId("problem").replaceChildren(element("h2", known.title), ...text);
  show("problem", true);
  byId("problem").scrollIntoView({ block: "nearest" });
}
