// Whether a request carries the server's key.
import { createHash, timingSafeEqual } from 'node:crypto';
import { DuobitError } from '@duobit/format';

/**
 * @returns a check of the header Authorization, which takes as long for a wrong key as for the right one
 */
export function createKeyCheck(apiKey: string): (authorization: string | undefined) => void {
  const wanted = digest(apiKey);
  return (authorization) => {
    const [, given] = /^Bearer +(.+?) *$/i.exec(authorization ?? '') ?? [];
    if (given !== undefined && timingSafeEqual(digest(given), wanted)) return;
    const what = given === undefined ? 'the request has no API key' : 'the API key is wrong';
    throw new DuobitError('SERVER_KEY', what, { remedy: 'Send it as "Authorization: Bearer …"' });
  };
}

/** Of one length for keys of every length, as `timingSafeEqual` wants it. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
