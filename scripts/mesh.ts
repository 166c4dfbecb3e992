/** Several nodes on this machine that are one mesh, for benchmarks and tests: the same as `shoal mesh` starts. */
export { startLocalMesh } from '../node/local-mesh/local-mesh.ts'
