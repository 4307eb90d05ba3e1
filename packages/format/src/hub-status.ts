// What a status means that is no success: of a Hugging Face hub, which tells more in `X-Error-Code`, and the two about credentials
// of any server. Never holds more of an answer than these headers, as bodies and addresses may hold secrets.

export interface StatusMeaning {
  readonly code: string;
  readonly message: string;
  readonly remedy: string;
}

const REMEDY_TOKEN = 'set HF_TOKEN to a token with access, or run `hf auth login`';

/** @returns null where the status alone says all there is to say */
export function describeHubStatus(status: number, headers: Headers): StatusMeaning | null {
  const said = headers
    .get('X-Error-Message')
    ?.replace(/[^\x20-\x7e]+/g, ' ')
    .slice(0, 200);
  const facts = `status ${status}${said ? `: ${said}` : ''}`;
  switch (headers.get('X-Error-Code')) {
    case 'GatedRepo':
      return {
        code: 'HUB_GATED',
        message: `the model is given out on request only (${facts})`,
        remedy: `Open its page, accept its terms, and ${REMEDY_TOKEN}`,
      };
    case 'RepoNotFound':
      return {
        code: 'HUB_NOT_FOUND',
        message: `there is no such repository, or it is private (${facts})`,
        remedy: `Check its name; if it is private, ${REMEDY_TOKEN}`,
      };
    case 'RevisionNotFound':
      return {
        code: 'HUB_NOT_FOUND',
        message: `the repository has no such revision (${facts})`,
        remedy: 'Name a branch, a tag or a commit that it has',
      };
    case 'EntryNotFound':
      return {
        code: 'SOURCE_MISSING',
        message: `the repository has no such file (${facts})`,
        remedy: 'Look at its list of files',
      };
  }
  if (status === 401) {
    return {
      code: 'HTTP_UNAUTHORIZED',
      message: `the server wants credentials, or does not take those it was given (${facts})`,
      remedy: `Make the file public, or give credentials that are valid: for a Hugging Face hub ${REMEDY_TOKEN}`,
    };
  }
  if (status === 403) {
    return {
      code: 'HTTP_FORBIDDEN',
      message: `these credentials may not do this, or none were given (${facts})`,
      remedy: `Ask its owner for access, or give other credentials: for a Hugging Face hub ${REMEDY_TOKEN}`,
    };
  }
  return null;
}
