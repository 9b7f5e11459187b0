export { sessionStoreContract, type ContractCase, type ContractInit } from './session-store-contract.js';
