/** Several nodes on this machine that are one mesh, for benchmarks and tests: the same as `shoal mesh` starts. */
export { startLocalMesh, type LocalMesh, type LocalMeshOptions, type LocalNode } from '../node/local-mesh/local-mesh.ts'
