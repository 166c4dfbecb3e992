/** Nodes that tests start listen on this machine only, and look for no neighbours. To be imported before they are. */
process.env['SHOAL_LISTEN'] ??= '127.0.0.1'
