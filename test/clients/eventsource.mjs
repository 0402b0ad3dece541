// The npm package eventsource as a client: a line for each event, until one called `end`.
//
// Arguments: URL, names of events. A line is `event TYPE DATA ID`, each in hexadecimal.
import { EventSource } from 'eventsource'

const [url, ...names] = process.argv.slice(2)
const hex = (text) => Buffer.from(text, 'utf8').toString('hex')
const source = new EventSource(url)
source.onopen = () => console.log('open')
const hear = (event) => {
  console.log(`event ${hex(event.type)} ${hex(event.data)} ${hex(event.lastEventId)}`)
  if (event.type === 'end') source.close()
}
for (const name of new Set(['message', 'end', ...names])) source.addEventListener(name, hear)
