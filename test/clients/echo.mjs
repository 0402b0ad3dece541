// The npm package ws as a client: says what a WebSocket may say, and prints what comes back.
//
// Argument: URL. A line is `text HEX`, `binary HEX` or, at last, `closed CODE`.
import WebSocket from 'ws'

const said = ['Hello', '', 'é🤠 ', 'x'.repeat(60_000), Buffer.from([0, 1, 254, 255]), Buffer.alloc(0)]
const socket = new WebSocket(process.argv[2], ['chat', 'other'])
let heard = 0
socket.on('open', () => {
  console.log(`open ${socket.protocol} ${socket.extensions}`)
  for (const one of said) socket.send(one)
})
socket.on('message', (data, isBinary) => {
  console.log(`${isBinary ? 'binary' : 'text'} ${data.toString('hex')}`)
  heard += 1
  if (heard === said.length) socket.close(1000)
})
socket.on('close', (code) => console.log(`closed ${code}`))
