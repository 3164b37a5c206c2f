/** A lane's thread with work of a stated length per datagram. */
import { awaitAssignment, serveLane } from '../../server/lanes/lane-thread.ts';
import { installWork } from './work.ts';

installWork();
awaitAssignment(serveLane);
